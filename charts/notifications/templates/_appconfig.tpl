{{- /*
What app-configs bring along that Helm and the operator cannot use. This is checked before anything
else, and values.schema.json judges nothing where there is some of it ("unfilled", "misplaced"),
because a schema cannot say what to write instead.
*/ -}}
{{- define "notifications.validate.appConfig" -}}
{{- $found := dict "unfilled" list "misplaced" list }}
{{- include "notifications.appConfig.unfilled" (dict "path" "" "value" .Values "found" $found) }}
{{- include "notifications.appConfig.misplaced" (dict "root" . "found" $found) }}
{{- $problems := list }}
{{- if $found.misplaced }}
{{- $problems = append $problems (printf "these values are read by nothing, neither here nor by Backstage's email processor, whose settings are below notifications.processors.email (transportConfig with transport, and sender, are required):\n- %s" (join "\n- " $found.misplaced)) }}
{{- end }}
{{- if $found.unfilled }}
{{- $problems = append $problems (printf "these values contain a placeholder such as ${NAME} or $env: NAME. Backstage fills them in from its environment; Helm does not know them, and neither does the operator. Keep credentials in a Secret, and write other values themselves, or have the file filled in before Helm reads it: envsubst < values.yaml | helm upgrade --install ... --values -\n- %s" (join "\n- " $found.unfilled)) }}
{{- end }}
{{- if $problems }}
{{- fail (join "\n" $problems) }}
{{- end }}
{{- end }}

{{- /*
Collects the paths with a placeholder: {"path": "", "value": ., "found": {"unfilled": []}}. Left out
is what is not ours to read: entities, further resources, annotations, what a parent chart shares,
and relabelings, in which ${1} has a meaning. The same names are in values.schema.json.
*/ -}}
{{- define "notifications.appConfig.unfilled" -}}
{{- $placeholder := "[$][{][^}]*[}]" }}
{{- $foreign := list "global" "entities" "extraObjects" "annotations" "podAnnotations" "relabelings" "metricRelabelings" }}
{{- $path := .path }}
{{- $found := .found }}
{{- $here := false }}
{{- if kindIs "string" .value }}
{{- $here = regexMatch $placeholder .value }}
{{- else if kindIs "slice" .value }}
{{- range $position, $item := .value }}
{{- include "notifications.appConfig.unfilled" (dict "path" (printf "%s[%d]" $path $position) "value" $item "found" $found) }}
{{- end }}
{{- else if kindIs "map" .value }}
{{- $here = or (hasKey .value "$env") (hasKey .value "$file") (hasKey .value "$include") }}
{{- range $key, $item := .value }}
{{- $below := printf "%s.%s" $path $key | trimPrefix "." }}
{{- if regexMatch $placeholder $key }}
{{- include "notifications.appConfig.unfilled" (dict "path" $below "value" $key "found" $found) }}
{{- else if not (or $here (has $key $foreign)) }}
{{- include "notifications.appConfig.unfilled" (dict "path" $below "value" $item "found" $found) }}
{{- end }}
{{- end }}
{{- end }}
{{- if $here }}
{{- $remedy := "write the value itself" }}
{{- if regexMatch "[.](?i:user|username|pass|password)$" $path }}
{{- $remedy = "put it into a Secret with the keys username and password, and name that in notifications.processors.email.existingSecret" }}
{{- else if hasPrefix "gateway.tokens.externalAccess" $path }}
{{- $remedy = "put the callers into a Secret with the key callers.yaml, and name that in gateway.tokens.existingSecret" }}
{{- end }}
{{- $_ := set $found "unfilled" (append $found.unfilled (printf "%s: %s" $path $remedy)) }}
{{- end }}
{{- end }}

{{- /* Collects keys in a place or of a name that nothing reads: {"root": ., "found": {"misplaced": []}}. */ -}}
{{- define "notifications.appConfig.misplaced" -}}
{{- $found := .found }}
{{- $known := dict }}
{{- range $group, $names := .root.Files.Get "files/misplaced-keys.yaml" | fromYaml }}
{{- $folded := dict }}
{{- range $name, $meant := $names }}
{{- $_ := set $folded (include "notifications.appConfig.folded" (kindIs "slice" $names | ternary $meant $name)) $meant }}
{{- end }}
{{- $_ := set $known $group $folded }}
{{- end }}
{{- $notifications := include "notifications.appConfig.object" .root.Values.notifications | fromJson }}
{{- $processors := include "notifications.appConfig.object" $notifications.processors | fromJson }}
{{- $email := include "notifications.appConfig.object" $processors.email | fromJson }}
{{- $transport := include "notifications.appConfig.object" $email.transportConfig | fromJson }}
{{- range $parent, $block := dict "notifications" $notifications "processors" $processors }}
{{- $path := ternary "notifications" "notifications.processors" (eq $parent "notifications") }}
{{- range $key, $value := $block }}
{{- if hasKey (get $known $parent) (include "notifications.appConfig.folded" $key) }}
{{- include "notifications.appConfig.group" (dict "path" (printf "%s.%s" $path $key) "value" $value "known" $known "found" $found) }}
{{- end }}
{{- end }}
{{- end }}
{{- range $prefix, $block := dict "" $email "transportConfig." $transport }}
{{- range $key, $value := $block }}
{{- $path := printf "notifications.processors.email.%s%s" $prefix $key }}
{{- $folded := include "notifications.appConfig.folded" $key }}
{{- $meant := get $known.keys $folded }}
{{- if and (hasKey $known.groups $folded) (or (kindIs "map" $value) (not $meant)) }}
{{- include "notifications.appConfig.group" (dict "path" $path "value" $value "known" $known "found" $found) }}
{{- else if and $meant (ne $meant (print $prefix $key)) }}
{{- $_ := set $found "misplaced" (append $found.misplaced (printf "%s: write notifications.processors.email.%s" $path $meant)) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- /* A key without what people write differently. */ -}}
{{- define "notifications.appConfig.folded" -}}
{{- lower . | replace "-" "" | replace "_" "" }}
{{- end }}

{{- /* An object as JSON; an empty one for whatever is none. */ -}}
{{- define "notifications.appConfig.object" -}}
{{- ternary . dict (kindIs "map" .) | toJson }}
{{- end }}

{{- /* Collects what is in an object that nothing reads: {"path": "", "value": ., "known": ., "found": .}. */ -}}
{{- define "notifications.appConfig.group" -}}
{{- $path := .path }}
{{- $known := .known }}
{{- $found := .found }}
{{- if and .value (kindIs "map" .value) }}
{{- range $key, $value := .value }}
{{- $below := printf "%s.%s" $path $key }}
{{- $folded := include "notifications.appConfig.folded" $key }}
{{- if and (kindIs "map" $value) (hasKey $known.groups $folded) }}
{{- include "notifications.appConfig.group" (dict "path" $below "value" $value "known" $known "found" $found) }}
{{- else }}
{{- $meant := get $known.keys $folded }}
{{- $answer := ternary (printf "write notifications.processors.email.%s" $meant) "the email processor has no such setting" (ne $meant "") }}
{{- $_ := set $found "misplaced" (append $found.misplaced (printf "%s: %s" $below $answer)) }}
{{- end }}
{{- end }}
{{- else }}
{{- $_ := set $found "misplaced" (append $found.misplaced (printf "%s: the settings are below notifications.processors.email" $path)) }}
{{- end }}
{{- end }}
