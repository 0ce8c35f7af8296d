{{- /*
The operator's settings (settings.py) as environment variables. Numbers go through toJson, because
a template prints 1000000 as 1e+06.
*/ -}}
{{- define "notifications.environment" -}}
- name: HOME
  value: /tmp
- name: NOTIFICATIONS_NAMESPACE
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: NOTIFICATIONS_POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: NOTIFICATIONS_POD_UID
  valueFrom:
    fieldRef:
      fieldPath: metadata.uid
- name: NOTIFICATIONS_LOG_LEVEL
  value: {{ .Values.logLevel }}
{{- with (.Values.app).baseUrl }}
- name: NOTIFICATIONS_APP_BASE_URL
  value: {{ . | quote }}
{{- end }}
{{- with .Values.clusterName }}
- name: NOTIFICATIONS_CLUSTER_NAME
  value: {{ . | quote }}
{{- end }}
- name: NOTIFICATIONS_SENDMAIL_PATHS
  value: {{ toJson .Values.sendmailPaths | quote }}
- name: NOTIFICATIONS_CATALOG__NAMESPACES
  value: {{ include "notifications.catalogNamespaces" . | quote }}
- name: NOTIFICATIONS_INSTALL
  value: {{ include "notifications.fullname" . }}
- name: NOTIFICATIONS_LEADER_ELECTION__NAMESPACE
  value: {{ .Values.leaderElection.namespace }}
- name: NOTIFICATIONS_LEADER_ELECTION__FORMER_LEASE_NAME
  value: {{ include "notifications.formerLeaseName" . }}
{{- $groups := dict
      "catalog" (list "settle" "removalSettle" "unreadableGrace" "unknownGrace")
      "delivery" (list "openWait" "processorGrace" "verifyInterval" "shutdownGrace")
      "watch" (list "resyncInterval" "inactivityTimeout")
      "leaderElection" (list "leaseDuration" "renewInterval" "retryPeriod") }}
{{- range $group, $keys := $groups }}
{{- range $keys }}
- name: NOTIFICATIONS_{{ snakecase $group | upper }}__{{ snakecase . | upper }}
  value: {{ get (get $.Values $group) . | toJson | quote }}
{{- end }}
{{- end }}
{{- $trusted := .Values.origins.trustedNamespaces }}
{{- if .Values.gateway.enabled }}
# The gateway says there who posted.
{{- $trusted = concat $trusted (list (include "notifications.gateway.inboxNamespace" .)) .Values.gateway.namespaces | uniq }}
- name: NOTIFICATIONS_GATEWAY__URL
  value: {{ include "notifications.gateway.internalURL" . }}
{{- end }}
{{- with $trusted }}
- name: NOTIFICATIONS_ORIGINS__TRUSTED_NAMESPACES
  value: {{ toJson . | quote }}
{{- end }}
{{- range $key := list "maxRecipients" "recipientsPerHour" }}
{{- $limit := dig $key nil $.Values.limits }}
{{- if not (kindIs "invalid" $limit) }}
- name: NOTIFICATIONS_LIMITS__{{ snakecase $key | upper }}
  value: {{ toJson $limit | quote }}
{{- end }}
{{- end }}
{{- with .Values.limits.namespaces }}
{{- $limits := dict }}
{{- range $namespace, $values := . }}
{{- $limit := dict }}
{{- range $key, $value := $values }}
{{- $_ := set $limit (snakecase $key) $value }}
{{- end }}
{{- $_ := set $limits $namespace $limit }}
{{- end }}
- name: NOTIFICATIONS_LIMITS__NAMESPACES
  value: {{ toJson $limits | quote }}
{{- end }}
{{- end }}
