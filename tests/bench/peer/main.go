// Command peer is the Go webhook that the benchmark compares with: the same mutation of a gang's pod, written the
// usual way, with controller-runtime and PatchResponseFromRaw.
package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"os"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

type intent struct {
	Env       [][2]string       `json:"env"`
	Hostname  string            `json:"hostname"`
	Subdomain string            `json:"subdomain"`
	Labels    map[string]string `json:"labels"`
}

type handler struct{ decoder admission.Decoder }

func (h handler) Handle(_ context.Context, request admission.Request) admission.Response {
	pod := &corev1.Pod{}
	if err := h.decoder.Decode(request, pod); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	var wanted intent
	if err := json.Unmarshal([]byte(pod.Annotations["grovekeeper.io/intent"]), &wanted); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	for key, value := range wanted.Labels {
		pod.Labels[key] = value
	}
	pod.Annotations["grovekeeper.io/injected"] = "1"
	pod.Spec.Hostname, pod.Spec.Subdomain = wanted.Hostname, wanted.Subdomain
	env := make([]corev1.EnvVar, 0, len(wanted.Env))
	for _, pair := range wanted.Env {
		env = append(env, corev1.EnvVar{Name: pair[0], Value: pair[1]})
	}
	for i := range pod.Spec.Containers {
		pod.Spec.Containers[i].Env = append(append([]corev1.EnvVar{}, env...), pod.Spec.Containers[i].Env...)
	}
	changed, err := json.Marshal(pod)
	if err != nil {
		return admission.Errored(http.StatusInternalServerError, err)
	}
	return admission.PatchResponseFromRaw(request.Object.Raw, changed)
}

func main() {
	log.SetLogger(logr.Discard())
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		panic(err)
	}
	hook := &admission.Webhook{Handler: handler{admission.NewDecoder(scheme)}}
	served, err := admission.StandaloneWebhook(hook, admission.StandaloneOptions{})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/webhooks/mutate-pod", served)
	server := &http.Server{
		Addr:    os.Args[1],
		Handler: mux,
		// The API server speaks HTTP/1.1 to webhooks behind a Service.
		TLSNextProto: map[string]func(*http.Server, *tls.Conn, http.Handler){},
	}
	fmt.Println(server.ListenAndServeTLS(os.Args[2], os.Args[3]))
}
