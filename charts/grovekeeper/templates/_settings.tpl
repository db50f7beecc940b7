{{- /* The settings file: from the values that have a name of their own, and `settings` for the others. */ -}}
{{- define "grovekeeper.settings" -}}
{{- $webhook := dict
  "port" .Values.webhook.port
  "cert_mode" .Values.webhook.certMode
  "cert_dir" "/etc/grovekeeper-certificate"
  "service_name" "grovekeeper-webhook"
  "secret_name" "grovekeeper-webhook-cert"
  "configuration_name" "grovekeeper" }}
{{- $reconcile := dict
  "concurrency" .Values.worker.concurrency
  "hold" .Values.hold
  "disruption_budgets" .Values.disruptionBudgets.enabled
  "drain_patience_seconds" .Values.disruptionBudgets.drainPatienceSeconds }}
{{- $settings := dict
  "namespace" .Release.Namespace
  "init_image" (include "grovekeeper.image" .)
  "redis_url" (include "grovekeeper.redisUrl" .)
  "metrics_port" .Values.metricsPort
  "log_level" .Values.logLevel
  "protection" .Values.protection
  "auto_mnnvl" .Values.autoMnnvl
  "exempt_users" (concat .Values.exemptUsers (include "grovekeeper.schedulerUsers" . | fromJsonArray) | default list)
  "service_account" "grovekeeper"
  "schedulers" (dict "profiles" .Values.schedulers.profiles "default" .Values.schedulers.default)
  "webhook" $webhook
  "reconcile" $reconcile }}
{{- with .Values.redis.passwordSecret }}
{{- if .name }}
{{- $_ := set $settings "redis_password_file" (printf "/etc/grovekeeper-redis/%s" .key) }}
{{- end }}
{{- end }}
{{- toYaml (mergeOverwrite $settings (deepCopy .Values.settings)) }}
{{- end }}
{{- /* Settings that other parts of the chart follow, and what sets them: never `settings`. Fails with the next step. */ -}}
{{- define "grovekeeper.owned" -}}
{{- $owned := dict
  "namespace" "helm's --namespace"
  "init_image" "image"
  "redis_url" "redis.url"
  "redis_password_file" "redis.passwordSecret"
  "metrics_port" "metricsPort"
  "log_level" "logLevel"
  "protection" "protection"
  "exempt_users" "exemptUsers"
  "auto_mnnvl" "autoMnnvl"
  "schedulers" "schedulers"
  "service_account" ""
  "webhook.port" "webhook.port"
  "webhook.cert_mode" "webhook.certMode"
  "webhook.cert_dir" ""
  "webhook.service_name" ""
  "webhook.secret_name" ""
  "webhook.configuration_name" ""
  "reconcile.concurrency" "worker.concurrency"
  "reconcile.hold" "hold"
  "reconcile.disruption_budgets" "disruptionBudgets.enabled"
  "reconcile.drain_patience_seconds" "disruptionBudgets.drainPatienceSeconds" }}
{{- range $name, $value := $owned }}
{{- $path := splitList "." $name }}
{{- $section := $.Values.settings }}
{{- range initial $path }}
{{- $section = get $section . | default dict }}
{{- end }}
{{- if hasKey $section (last $path) }}
{{- if $value }}
{{- fail (printf "settings.%s is set by a value of its own, which the rest of the chart follows, too: set %s instead" $name $value) }}
{{- end }}
{{- fail (printf "settings.%s is a name that the chart gives: leave it out" $name) }}
{{- end }}
{{- end }}
{{- end }}
