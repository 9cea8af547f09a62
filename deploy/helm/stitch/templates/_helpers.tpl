{{- define "stitch.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- /* The configuration, parsed. */ -}}
{{- define "stitch.config" -}}
{{- $text := required "config is required: --set-file config=stitch.toml" .Values.config }}
{{- $config := fromToml $text }}
{{- with $config.Error }}{{ fail (printf "config is not TOML: %s" .) }}{{ end }}
{{- toJson $config }}
{{- end }}

{{- /* One value of it: (list $ "processor" "stop_timeout_ms" 20000) */ -}}
{{- define "stitch.setting" -}}
{{- $config := include "stitch.config" (index . 0) | fromJson }}
{{- dig (index . 1) (index . 2) (index . 3) $config }}
{{- end }}

{{- /* Seconds for a clean stop: a quarter more than its timeout, 2 s for the clients' threads, and a margin of 5 s. */ -}}
{{- define "stitch.grace" -}}
{{- $timeout := include "stitch.setting" . | float64 }}
{{- add (ceil (divf (mulf $timeout 1.25) 1000) | int) 7 }}
{{- end }}

{{- define "stitch.selector" -}}
app.kubernetes.io/name: stitch
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "stitch.labels" -}}
{{ include "stitch.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "stitch.image" -}}
{{- if .Values.image.digest }}{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else }}{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- define "stitch.checksum" -}}
checksum/config: {{ .Values.config | sha256sum }}
{{- end }}

{{- /* Of every pod. */ -}}
{{- define "stitch.pod" -}}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- /* Of every container; (list $ command) */ -}}
{{- define "stitch.container" -}}
{{- $root := index . 0 -}}
image: {{ include "stitch.image" $root | quote }}
imagePullPolicy: {{ $root.Values.image.pullPolicy }}
command: {{ index . 1 | toJson }}
workingDir: /var/lib/stitch
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
env:
  - {name: STITCH_CONFIG, value: /etc/stitch/stitch.toml}
  - {name: STITCH_LOG, value: {{ $root.Values.logs.level | quote }}}
  - {name: STITCH_LOG_FORMAT, value: {{ $root.Values.logs.format | quote }}}
  - {name: STITCH_HTTP__LISTEN, value: "0.0.0.0:9100"}
  - {name: STITCH_API__LISTEN, value: "0.0.0.0:8080"}
  {{- with $root.Values.extraEnv }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
volumeMounts:
  - {name: config, mountPath: /etc/stitch/stitch.toml, subPath: stitch.toml, readOnly: true}
  - {name: workspace, mountPath: /var/lib/stitch}
  - {name: temporary, mountPath: /tmp}
  {{- if $root.Values.secrets }}
  - {name: secrets, mountPath: /etc/stitch/secrets, readOnly: true}
  {{- end }}
{{- end }}

{{- /* Without the workspace, which jobs choose. */ -}}
{{- define "stitch.volumes" -}}
- name: config
  configMap: {name: {{ include "stitch.name" . }}}
- name: temporary
  emptyDir: {sizeLimit: 64Mi}
{{- with .Values.secrets }}
# Never by subPath: renewed secrets have to arrive.
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range . }}
      - secret:
          {{- toYaml . | nindent 10 }}
      {{- end }}
{{- end }}
{{- end }}

{{- /* (list $ component values) */ -}}
{{- define "stitch.placement" -}}
{{- $root := index . 0 -}}
topologySpreadConstraints:
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "stitch.selector" $root | nindent 8 }}
        app.kubernetes.io/component: {{ index . 1 }}
{{- with index . 2 }}
{{- with .nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}
