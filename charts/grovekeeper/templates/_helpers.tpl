{{- define "grovekeeper.image" -}}
{{ .Values.image.repository }}
{{- if .Values.image.digest }}@{{ .Values.image.digest }}{{ else }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}
{{- define "grovekeeper.labels" -}}
app.kubernetes.io/name: grovekeeper
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}
{{- define "grovekeeper.redisUrl" -}}
{{ .Values.redis.url | default (printf "redis://grovekeeper-redis.%s.svc:6379/0" .Release.Namespace) }}
{{- end }}
{{- /* Where pods may run, and what pulls their images: alike for our components and the bundled Redis. */ -}}
{{- define "grovekeeper.scheduling" -}}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- define "grovekeeper.pod" -}}
serviceAccountName: grovekeeper
{{- include "grovekeeper.scheduling" .root }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  seccompProfile: {type: RuntimeDefault}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels: {app.kubernetes.io/name: grovekeeper, app.kubernetes.io/component: {{ .component }}}
terminationGracePeriodSeconds: 60
containers:
  - name: {{ .component }}
    image: {{ include "grovekeeper.image" .root }}
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    args: ["run", {{ .component | quote }}, "--config", "/etc/grovekeeper/settings.yaml"]
    {{- with .root.Values.extraEnv }}
    env: {{- toYaml . | nindent 6 }}
    {{- end }}
    ports:
      - {name: metrics, containerPort: {{ .root.Values.metricsPort }}}
      {{- if eq .component "webhook" }}
      - {name: webhook, containerPort: {{ .root.Values.webhook.port }}}
      {{- end }}
    livenessProbe:
      httpGet: {path: /healthz, port: metrics}
      initialDelaySeconds: 15
    readinessProbe:
      httpGet: {path: /readyz, port: metrics}
      periodSeconds: 3
    resources: {{- toYaml .resources | nindent 6 }}
    securityContext:
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: {drop: ["ALL"]}
    volumeMounts:
      - {name: settings, mountPath: /etc/grovekeeper, readOnly: true}
      - {name: tmp, mountPath: /tmp}
      {{- if and (eq .component "webhook") (eq .root.Values.webhook.certMode "files") }}
      - {name: certificate, mountPath: /etc/grovekeeper-certificate, readOnly: true}
      {{- end }}
      {{- if .root.Values.redis.passwordSecret.name }}
      - {name: redis-password, mountPath: /etc/grovekeeper-redis, readOnly: true}
      {{- end }}
volumes:
  - name: settings
    configMap: {name: grovekeeper}
  - name: tmp
    emptyDir: {}
  {{- if and (eq .component "webhook") (eq .root.Values.webhook.certMode "files") }}
  - name: certificate
    secret: {secretName: grovekeeper-webhook-cert}
  {{- end }}
  {{- with .root.Values.redis.passwordSecret.name }}
  - name: redis-password
    secret: {secretName: {{ . }}}
  {{- end }}
{{- end }}

{{- /* Service accounts of other schedulers, in the namespaces that their charts use: they annotate the pods. */ -}}
{{- define "grovekeeper.schedulerUsers" -}}
{{- $users := list -}}
{{- if has "kai-scheduler" .Values.schedulers.profiles -}}
{{- range list "pod-grouper" "binder" "scheduler" -}}
{{- $users = append $users (printf "system:serviceaccount:kai-scheduler:%s" .) -}}
{{- end -}}
{{- end -}}
{{- if has "volcano" .Values.schedulers.profiles -}}
{{- range list "volcano-scheduler" "volcano-controllers" -}}
{{- $users = append $users (printf "system:serviceaccount:volcano-system:%s" .) -}}
{{- end -}}
{{- end -}}
{{- toJson $users -}}
{{- end -}}
