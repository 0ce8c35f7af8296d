{{- /*
What values.schema.json cannot say in a sentence. All problems are reported at once; none of the
messages shows a credential.
*/ -}}
{{- define "notifications.validate" -}}
{{- $problems := list }}
{{- range (include "notifications.validate.email" . | fromJsonArray) }}
{{- $problems = append $problems (printf "notifications.processors.email.%s" .) }}
{{- end }}
{{- if and .Values.podDisruptionBudget.minAvailable .Values.podDisruptionBudget.maxUnavailable }}
{{- $problems = append $problems "podDisruptionBudget.minAvailable and podDisruptionBudget.maxUnavailable exclude each other: set one of them." }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled (not .Values.metrics.enabled) }}
{{- $problems = append $problems "serviceMonitor.enabled needs metrics.enabled: there would be no Service to scrape." }}
{{- end }}
{{- if and .Values.metrics.prometheusRule.enabled (not .Values.metrics.enabled) }}
{{- $problems = append $problems "metrics.prometheusRule.enabled needs metrics.enabled: without a Service to scrape, the alerts would only say that nothing is scraped." }}
{{- end }}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) }}
{{- $problems = append $problems "serviceAccount.name is missing: with serviceAccount.create false the operator needs the name of a ServiceAccount of its own, because the rights of the namespace's default one are every pod's." }}
{{- end }}
{{- if and .Values.tests.enabled (not .Values.tests.recipient) }}
{{- $problems = append $problems "tests.recipient is missing: `helm test` sends one notification and needs somebody to send it to, such as user:default/jane.doe." }}
{{- end }}
{{- if ge (float64 .Values.delivery.shutdownGrace) (float64 .Values.terminationGracePeriodSeconds) }}
{{- $problems = append $problems (printf "delivery.shutdownGrace (%v) must be less than terminationGracePeriodSeconds (%v): the results of the last sends are recorded in between." .Values.delivery.shutdownGrace .Values.terminationGracePeriodSeconds) }}
{{- end }}
{{- with .Values.leaderElection }}
{{- if ge (addf .renewInterval .retryPeriod) (float64 .leaseDuration) }}
{{- $problems = append $problems (printf "leaderElection.renewInterval (%v) and leaderElection.retryPeriod (%v) must together be less than leaderElection.leaseDuration (%v), so that one renewal may fail." .renewInterval .retryPeriod .leaseDuration) }}
{{- end }}
{{- if gt (mulf .renewInterval 3) (float64 .leaseDuration) }}
{{- $problems = append $problems (printf "leaderElection.renewInterval (%v) must be at most a third of leaderElection.leaseDuration (%v): two renewals and the interval between them must end within it, and each may take an interval." .renewInterval .leaseDuration) }}
{{- end }}
{{- end }}
{{- with .Values.gateway }}
{{- if .enabled }}
{{- if and (gt (int .replicaCount) 1) (include "notifications.gateway.embedded" $) }}
{{- $problems = append $problems "gateway.replicaCount is more than 1 and gateway.database.existingSecret is empty: SQLite serves one process; more need PostgreSQL." }}
{{- end }}
{{- if and .tokens.existingSecret .tokens.externalAccess }}
{{- $problems = append $problems "gateway.tokens.existingSecret and gateway.tokens.externalAccess exclude each other: the Secret holds all callers." }}
{{- end }}
{{- if and (.oidc).login (not .publicUrl) }}
{{- $problems = append $problems "gateway.publicUrl is missing: gateway.oidc.login sends browsers back there." }}
{{- end }}
{{- if and .ingress.enabled (not .ingress.hosts) }}
{{- $problems = append $problems "gateway.ingress.hosts is empty: the Ingress needs the host under which the gateway is reached." }}
{{- end }}
{{- if and .httpRoute.enabled (not .httpRoute.parentRefs) }}
{{- $problems = append $problems "gateway.httpRoute.parentRefs is empty: the HTTPRoute needs a Gateway." }}
{{- end }}
{{- end }}
{{- end }}
{{- $entities := include "notifications.catalogEntities" . | len }}
{{- if gt $entities 1000000 }}
{{- $problems = append $problems (printf "catalog.entities take %d bytes and a ConfigMap holds 1 MiB: put them into several ConfigMaps labelled notifications.orchestrator.io/catalog=true instead." $entities) }}
{{- end }}
{{- if $problems }}
{{- fail (printf "the values do not fit together:\n- %s" (join "\n- " $problems)) }}
{{- end }}
{{- end }}

{{- /* A JSON list of problems, each beginning with the field's path below the processor. */ -}}
{{- define "notifications.validate.email" -}}
{{- $problems := list }}
{{- with include "notifications.email" . | fromJson }}
{{- $transport := .transportConfig | default dict }}
{{- $kind := $transport.transport }}
{{- $own := dict
      "smtp" (list "transport" "hostname" "port" "name" "secure" "requireTls" "ignoreTls" "username" "password" "tls" "oauth2")
      "sendmail" (list "transport" "path" "newline")
      "stream" (list "transport") }}
{{- if not .sender }}
{{- $problems = append $problems "sender is missing: the address that mails come from." }}
{{- end }}
{{- if not $kind }}
{{- $problems = append $problems "transportConfig is missing: it says how mail leaves (transport: smtp, sendmail or stream)." }}
{{- else }}
{{- range $key := keys $transport | sortAlpha }}
{{- if not (has $key (get $own $kind)) }}
{{- $problems = append $problems (printf "transportConfig.%s does not belong to transport %s, which takes: %s." $key $kind (rest (get $own $kind) | join ", " | default "nothing else")) }}
{{- end }}
{{- end }}
{{- end }}
{{- if eq (toString $kind) "smtp" }}
{{- if not $transport.hostname }}
{{- $problems = append $problems "transportConfig.hostname is missing: the SMTP server." }}
{{- end }}
{{- if not $transport.port }}
{{- $problems = append $problems "transportConfig.port is missing: usually 587 (STARTTLS), 465 (with secure: true) or 25." }}
{{- end }}
{{- if and $transport.username (not $transport.password) }}
{{- $problems = append $problems "transportConfig.password is missing: there is a username. Better, name a Secret with both in existingSecret." }}
{{- end }}
{{- if and $transport.password (not $transport.username) }}
{{- $problems = append $problems "transportConfig.username is missing: there is a password." }}
{{- end }}
{{- if and .existingSecret (or $transport.username $transport.password) }}
{{- $problems = append $problems "existingSecret and transportConfig.username/password exclude each other: the Secret holds both." }}
{{- end }}
{{- if and $transport.ignoreTls (or .existingSecret $transport.username $transport.password) }}
{{- $problems = append $problems "transportConfig.ignoreTls cannot be used with credentials: they are never sent in clear. Remove one of them." }}
{{- end }}
{{- if and $transport.ignoreTls (or $transport.secure $transport.requireTls (hasKey $transport "tls")) }}
{{- $problems = append $problems "transportConfig.ignoreTls contradicts secure, requireTls and tls: remove either." }}
{{- end }}
{{- if and $transport.oauth2 (or .existingSecret $transport.username $transport.password) }}
{{- $problems = append $problems "transportConfig.oauth2 logs in with tokens instead of a password: remove existingSecret, transportConfig.username and transportConfig.password, or remove oauth2." }}
{{- end }}
{{- if and $transport.oauth2 $transport.ignoreTls }}
{{- $problems = append $problems "transportConfig.ignoreTls contradicts oauth2: tokens are never sent in clear. Remove either." }}
{{- end }}
{{- range (include "notifications.validate.oauth2" $transport.oauth2 | fromJsonArray) }}
{{- $problems = append $problems (printf "transportConfig.oauth2%s" .) }}
{{- end }}
{{- else if and $kind .existingSecret }}
{{- $problems = append $problems (printf "existingSecret is for transport smtp: %s does not log in." $kind) }}
{{- end }}
{{- if eq (toString $kind) "sendmail" }}
{{- $path := $transport.path | default "/usr/sbin/sendmail" }}
{{- if not (has $path $.Values.sendmailPaths) }}
{{- $problems = append $problems (printf "transportConfig.path %s is not in sendmailPaths (%s): the operator runs no other program." $path (join ", " $.Values.sendmailPaths)) }}
{{- end }}
{{- end }}
{{- range $path, $value := dict "throttleInterval" .throttleInterval "cache.ttl" (.cache).ttl }}
{{- if and (kindIs "float64" $value) $value }}
{{- $problems = append $problems (printf "%s is the bare number %v: write an object such as {minutes: 5}, a string such as 100ms or PT5M, or 0." $path $value) }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $problems }}
{{- end }}

{{- /* A JSON list of problems with transportConfig.oauth2, each going on where that name ends. */ -}}
{{- define "notifications.validate.oauth2" -}}
{{- $problems := list }}
{{- with . }}
{{- $oauth2 := . }}
{{- $own := dict
      "clientCredentials" (list "clientSecretRef" "federatedTokenFile")
      "jwtBearer" (list "privateKeyRef" "subject")
      "refreshToken" (list "refreshTokenRef" "clientSecretRef" "federatedTokenFile") }}
{{- range list "clientSecretRef" "federatedTokenFile" "privateKeyRef" "refreshTokenRef" "subject" }}
{{- if and (hasKey $oauth2 .) (not (has . (get $own $oauth2.grant))) }}
{{- $problems = append $problems (printf ".%s does not belong to grant %s, which takes: %s." . $oauth2.grant (get $own $oauth2.grant | join ", ")) }}
{{- end }}
{{- end }}
{{- if and (eq .grant "clientCredentials") (not .clientSecretRef) (not .federatedTokenFile) }}
{{- $problems = append $problems ": grant clientCredentials needs clientSecretRef or federatedTokenFile." }}
{{- end }}
{{- if and (eq .grant "jwtBearer") (not .privateKeyRef) }}
{{- $problems = append $problems ".privateKeyRef is missing: grant jwtBearer signs with that key." }}
{{- end }}
{{- if and (eq .grant "refreshToken") (not .refreshTokenRef) }}
{{- $problems = append $problems ".refreshTokenRef is missing: it is what grant refreshToken shows." }}
{{- end }}
{{- if and .clientSecretRef .federatedTokenFile }}
{{- $problems = append $problems ".clientSecretRef and federatedTokenFile exclude each other: remove either." }}
{{- end }}
{{- end }}
{{- toJson $problems }}
{{- end }}
