{{- /* The settings file: from the values that have a name of their own, then `settings` over them. */ -}}
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
