{{- define "notifications.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "notifications.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- $name := include "notifications.name" . }}
{{- if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}
{{- end }}

{{- /* The name of a part: {"root": ., "part": "metrics"}. A Service's name has 63 characters at most. */ -}}
{{- define "notifications.partName" -}}
{{- $room := sub 62 (len .part) | int }}
{{- printf "%s-%s" (include "notifications.fullname" .root | trunc $room | trimSuffix "-") .part }}
{{- end }}

{{- define "notifications.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "notifications.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: notifications
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "notifications.selectorLabels" -}}
app.kubernetes.io/name: {{ include "notifications.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end }}

{{- define "notifications.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "notifications.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "notifications.image" -}}
{{- $image := .Values.image }}
{{- $tag := $image.tag }}
{{- if not (or $tag $image.digest) }}
{{- $tag = .Chart.AppVersion }}
{{- end }}
{{- $image.repository }}{{ with $tag }}:{{ . }}{{ end }}{{ with $image.digest }}@{{ . }}{{ end }}
{{- end }}

{{- /* The name of what is outside the release's namespace: unlike another release's of the same name. */ -}}
{{- define "notifications.clusterName" -}}
{{- printf "%s.%s" .Release.Namespace (include "notifications.fullname" .) }}
{{- end }}

{{- define "notifications.formerLeaseName" -}}
{{- default (include "notifications.fullname" .) .Values.leaderElection.leaseName }}
{{- end }}

{{- /*
The options of the email processor as JSON, as Backstage takes them from an app-config
(@backstage/config, ConfigReader): a key without a value counts as absent, and a number or a boolean
may be in quotes. values.schema.json has made sure that the texts say one.
*/ -}}
{{- define "notifications.email" -}}
{{- $email := deepCopy (((.Values.notifications).processors).email | default dict) }}
{{- include "notifications.withoutNulls" $email }}
{{- $transport := $email.transportConfig | default dict }}
{{- range list (dict "in" $transport "key" "port") (dict "in" $email "key" "concurrencyLimit") }}
{{- if and (hasKey .in .key) (kindIs "string" (get .in .key)) }}
{{- $_ := set .in .key (get .in .key | regexFind "[1-9][0-9]*" | int) }}
{{- end }}
{{- end }}
{{- range list "secure" "requireTls" }}
{{- if hasKey $transport . }}
{{- $_ := set $transport . (include "notifications.isTrue" (get $transport .) | eq "true") }}
{{- end }}
{{- end }}
{{- range list $email.throttleInterval ($email.cache).ttl }}
{{- $duration := . }}
{{- if kindIs "map" $duration }}
{{- range $unit, $amount := $duration }}
{{- if kindIs "string" $amount }}
{{- $_ := set $duration $unit ($amount | trim | trimPrefix "+" | float64) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $email }}
{{- end }}

{{- /* notifications.defaultSettings as JSON, taken as "notifications.email" takes its options. */ -}}
{{- define "notifications.defaultSettings" -}}
{{- $settings := deepCopy ((.Values.notifications).defaultSettings | default dict) }}
{{- include "notifications.withoutNulls" $settings }}
{{- range $settings.channels }}
{{- include "notifications.defaultSettings.flag" . }}
{{- range .origins }}
{{- include "notifications.defaultSettings.flag" . }}
{{- range .topics }}
{{- include "notifications.defaultSettings.flag" . }}
{{- end }}
{{- end }}
{{- end }}
{{- toJson $settings }}
{{- end }}

{{- define "notifications.defaultSettings.flag" -}}
{{- include "notifications.withoutNulls" . }}
{{- if hasKey . "enabled" }}
{{- $_ := set . "enabled" (include "notifications.isTrue" .enabled | eq "true") }}
{{- end }}
{{- end }}

{{- /* "true" for a boolean, a number or a word that says it. */ -}}
{{- define "notifications.isTrue" -}}
{{- . | toString | regexMatch "^ *(?i:y|yes|true|1|on) *$" }}
{{- end }}

{{- /* Removes from an object, and from those in it, the keys without a value. */ -}}
{{- define "notifications.withoutNulls" -}}
{{- $object := . }}
{{- range $key, $value := $object }}
{{- if kindIs "invalid" $value }}
{{- $_ := unset $object $key }}
{{- else if kindIs "map" $value }}
{{- include "notifications.withoutNulls" $value }}
{{- end }}
{{- end }}
{{- end }}

{{- /* Whether the processor logs in, and from which Secret. */ -}}
{{- define "notifications.email.secretName" -}}
{{- $email := include "notifications.email" . | fromJson }}
{{- if $email.existingSecret }}
{{- $email.existingSecret }}
{{- else if ($email.transportConfig).username }}
{{- include "notifications.partName" (dict "root" . "part" "email") }}
{{- end }}
{{- end }}

{{- /* The namespaces whose catalog ConfigMaps are read, as a JSON list. */ -}}
{{- define "notifications.catalogNamespaces" -}}
{{- prepend .Values.catalog.namespaces .Release.Namespace | uniq | toJson }}
{{- end }}

{{- /* The operator, as bindings name it. */ -}}
{{- define "notifications.subjects" -}}
subjects:
  - kind: ServiceAccount
    name: {{ include "notifications.serviceAccountName" . }}
    namespace: {{ .Release.Namespace }}
{{- end }}

{{- /* The names that the right to read Secrets is narrowed to, as a JSON list; empty: all. */ -}}
{{- define "notifications.secretNames" -}}
{{- $names := .Values.rbac.secretNames }}
{{- if $names }}
{{- $email := include "notifications.email" . | fromJson }}
{{- $authority := ((($email.transportConfig).tls).caSecretRef).name }}
{{- $names = concat $names (list (include "notifications.email.secretName" .) $authority) }}
{{- $oauth2 := ($email.transportConfig).oauth2 | default dict }}
{{- range list "clientSecretRef" "privateKeyRef" "refreshTokenRef" }}
{{- $names = append $names (get $oauth2 . | default dict).name }}
{{- end }}
{{- $names = $names | compact | uniq }}
{{- end }}
{{- toJson $names }}
{{- end }}

{{- /* Metadata of a resource of `helm test`: {"root": ., "weight": 0}. */ -}}
{{- define "notifications.test.metadata" -}}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "notifications.labels" .root | nindent 2 }}
  app.kubernetes.io/component: test
annotations:
  helm.sh/hook: test
  helm.sh/hook-weight: {{ .weight | quote }}
  helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end }}
