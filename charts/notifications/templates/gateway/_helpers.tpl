{{- define "notifications.gateway.name" -}}
{{- include "notifications.partName" (dict "root" . "part" "gateway") }}
{{- end }}

{{- define "notifications.gateway.labels" -}}
{{ include "notifications.labels" . }}
app.kubernetes.io/component: gateway
{{- end }}

{{- define "notifications.gateway.selectorLabels" -}}
app.kubernetes.io/name: {{ include "notifications.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end }}

{{- /* Where what is posted becomes Notifications; holds nothing else. */ -}}
{{- define "notifications.gateway.inboxNamespace" -}}
{{- default (printf "%s-inbox" .Release.Name | trunc 63 | trimSuffix "-") .Values.gateway.inboxNamespace.name }}
{{- end }}

{{- /* The Secret with the static tokens, if there are any. */ -}}
{{- define "notifications.gateway.tokensSecret" -}}
{{- $tokens := .Values.gateway.tokens }}
{{- if $tokens.existingSecret }}
{{- $tokens.existingSecret }}
{{- else if $tokens.externalAccess }}
{{- include "notifications.partName" (dict "root" . "part" "gateway-tokens") }}
{{- end }}
{{- end }}

{{- /* Whether the database is a file on a volume, rather than PostgreSQL. */ -}}
{{- define "notifications.gateway.embedded" -}}
{{- if not .Values.gateway.database.existingSecret }}true{{ end }}
{{- end }}

{{- /* Where the operator reaches the gateway: a port that no Ingress leads to. */ -}}
{{- define "notifications.gateway.internalURL" -}}
{{- $name := include "notifications.partName" (dict "root" . "part" "gateway-internal") }}
{{- with .Values.gateway.internalService }}
{{- $host := default (printf "%s.%s.svc" $name $.Release.Namespace) .clusterIP }}
{{- printf "http://%s:%v" (contains ":" $host | ternary (printf "[%s]" $host) $host) .port }}
{{- end }}
{{- end }}

{{- /* What users can choose about, as a JSON list. */ -}}
{{- define "notifications.gateway.channels" -}}
{{- $email := (include "notifications.email" . | fromJson).channel | default "Email" }}
{{- .Values.gateway.channels | default (list "Web" $email) | toJson }}
{{- end }}

{{- define "notifications.gateway.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "notifications.gateway.name" . }}
    namespace: {{ .Release.Namespace }}
{{- end }}

{{- /* A value with its keys in snake case, as JSON; the keys of maps named in "names" are kept:
{"value": ..., "names": ["plugins"]}. */ -}}
{{- define "notifications.gateway.settings" -}}
{{- toJson (include "notifications.gateway.snakeKeys" . | fromJson).value }}
{{- end }}

{{- define "notifications.gateway.snakeKeys" -}}
{{- $names := .names | default list }}
{{- if kindIs "map" .value }}
{{- $found := dict }}
{{- range $key, $value := .value }}
{{- if has $key $names }}
{{- $inner := dict }}
{{- range $name, $item := $value }}
{{- $_ := set $inner $name (include "notifications.gateway.snakeKeys" (dict "value" $item) | fromJson).value }}
{{- end }}
{{- $_ := set $found (snakecase $key) $inner }}
{{- else }}
{{- $_ := set $found (snakecase $key) (include "notifications.gateway.snakeKeys" (dict "value" $value "names" $names) | fromJson).value }}
{{- end }}
{{- end }}
{{- dict "value" $found | toJson }}
{{- else }}
{{- dict "value" .value | toJson }}
{{- end }}
{{- end }}

{{- define "notifications.gateway.audience" -}}
notifications-gateway
{{- end }}
