{{- /* The gateway's settings (gateway/settings.py) as environment variables. */ -}}
{{- define "notifications.gateway.environment" -}}
{{- with .Values.gateway -}}
- name: HOME
  value: /tmp
- name: NOTIFICATIONS_GATEWAY_NAMESPACE
  value: {{ include "notifications.gateway.inboxNamespace" $ }}
- name: NOTIFICATIONS_GATEWAY_LOG_LEVEL
  value: {{ $.Values.logLevel }}
{{- with ($.Values.app).baseUrl }}
- name: NOTIFICATIONS_GATEWAY_APP_BASE_URL
  value: {{ . | quote }}
{{- end }}
- name: NOTIFICATIONS_GATEWAY_DATABASE__URL
  {{- if include "notifications.gateway.embedded" $ }}
  value: sqlite:////var/lib/notifications/inbox.db
  {{- else }}
  valueFrom:
    secretKeyRef:
      name: {{ .database.existingSecret }}
      key: {{ .database.key }}
  {{- end }}
- name: NOTIFICATIONS_GATEWAY_DATABASE__POOL_SIZE
  value: {{ toJson .database.poolSize | quote }}
- name: NOTIFICATIONS_GATEWAY_INTERNAL__OPERATOR_NAMESPACE
  value: {{ $.Release.Namespace }}
- name: NOTIFICATIONS_GATEWAY_INTERNAL__OPERATOR_SERVICE_ACCOUNT
  value: {{ include "notifications.serviceAccountName" $ }}
- name: NOTIFICATIONS_GATEWAY_INTERNAL__AUDIENCE
  value: {{ include "notifications.gateway.audience" $ }}
{{- if include "notifications.gateway.tokensSecret" $ }}
- name: NOTIFICATIONS_GATEWAY_CALLERS__FILE
  value: /var/run/secrets/notifications-callers/callers.yaml
{{- end }}
- name: NOTIFICATIONS_GATEWAY_CALLERS__FAILURES_PER_MINUTE
  value: {{ toJson .tokens.failuresPerMinute | quote }}
- name: NOTIFICATIONS_GATEWAY_SENDING__MAX_UNFINISHED
  value: {{ toJson .maxUnfinished | quote }}
- name: NOTIFICATIONS_GATEWAY_SENDING__TTL_SECONDS
  value: {{ toJson .ttlSecondsAfterFinished | quote }}
{{- $retention := ($.Values.notifications).retention }}
{{- if not (kindIs "invalid" $retention) }}
- name: NOTIFICATIONS_GATEWAY_RETENTION
  value: {{ dict "age" $retention | toJson | quote }}
{{- end }}
- name: NOTIFICATIONS_GATEWAY_DEFAULT_SETTINGS
  value: {{ include "notifications.defaultSettings" $ | quote }}
- name: NOTIFICATIONS_GATEWAY_CHANNELS
  value: {{ include "notifications.gateway.channels" $ | quote }}
{{- /* Helm leaves out what users set to null. */}}
{{- $page := merge (dict "snackbarAutoHideDuration" .page.snackbarAutoHideDuration) .page }}
- name: NOTIFICATIONS_GATEWAY_PAGE
  value: {{ include "notifications.gateway.settings" (dict "value" $page "names" (list "originNames" "topicNames")) | quote }}
- name: NOTIFICATIONS_GATEWAY_SIGNALS
  value: {{ include "notifications.gateway.settings" (dict "value" .signals) | quote }}
{{- with .portals }}
- name: NOTIFICATIONS_GATEWAY_SERVER__CORS_ORIGINS
  value: {{ toJson . | quote }}
{{- end }}
{{- if .oidc.matchEmail }}
- name: NOTIFICATIONS_GATEWAY_CATALOG_NAMESPACES
  value: {{ include "notifications.catalogNamespaces" $ | quote }}
{{- end }}
{{- with .oidc }}
{{- $oidc := omit . "login" }}
{{- with .login }}
{{- $_ := set $oidc "login" (merge (dict "publicUrl" $.Values.gateway.publicUrl) (omit . "existingSecret")) }}
{{- end }}
- name: NOTIFICATIONS_GATEWAY_OIDC
  value: {{ include "notifications.gateway.settings" (dict "value" $oidc) | quote }}
{{- with (.login).existingSecret }}
- name: NOTIFICATIONS_GATEWAY_OIDC__LOGIN__CLIENT_SECRET
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: client-secret
{{- end }}
{{- end }}
{{- with .backstage }}
{{- $backstage := merge (dict "namespace" (include "notifications.gateway.inboxNamespace" $)) . }}
- name: NOTIFICATIONS_GATEWAY_BACKSTAGE
  value: {{ include "notifications.gateway.settings" (dict "value" $backstage "names" (list "plugins")) | quote }}
{{- end }}
{{- end }}
{{- end }}
