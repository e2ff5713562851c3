package kubernetes

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"
)

// folder is where the manifests are.
const folder = "../../kubernetes"

// kinds are the kinds of object that the manifests have.
var kinds = map[string]func() metav1.Object{
	"v1/Namespace":                           func() metav1.Object { return &corev1.Namespace{} },
	"v1/ConfigMap":                           func() metav1.Object { return &corev1.ConfigMap{} },
	"v1/Secret":                              func() metav1.Object { return &corev1.Secret{} },
	"v1/Service":                             func() metav1.Object { return &corev1.Service{} },
	"v1/ServiceAccount":                      func() metav1.Object { return &corev1.ServiceAccount{} },
	"apps/v1/Deployment":                     func() metav1.Object { return &appsv1.Deployment{} },
	"apps/v1/StatefulSet":                    func() metav1.Object { return &appsv1.StatefulSet{} },
	"policy/v1/PodDisruptionBudget":          func() metav1.Object { return &policyv1.PodDisruptionBudget{} },
	"networking.k8s.io/v1/NetworkPolicy":     func() metav1.Object { return &networkingv1.NetworkPolicy{} },
	"networking.k8s.io/v1/Ingress":           func() metav1.Object { return &networkingv1.Ingress{} },
	"autoscaling/v2/HorizontalPodAutoscaler": func() metav1.Object { return &autoscalingv2.HorizontalPodAutoscaler{} },
}

// object is one object of a build.
type object struct {
	metav1.Object
	kind string // with group and version
	raw  []byte // YAML
}

func (o object) String() string {
	return o.kind[strings.LastIndexByte(o.kind, '/')+1:] + " " + o.GetName()
}

// folders lists the base and the overlays.
func folders(t testing.TB) []string {
	t.Helper()
	overlays, err := filepath.Glob(filepath.Join(folder, "overlays", "*"))
	if err != nil || len(overlays) < 2 {
		t.Fatalf("overlays: got %q, %v", overlays, err)
	}
	return append([]string{filepath.Join(folder, "base")}, overlays...)
}

// build does what `kubectl kustomize dir` does and returns its objects as YAML.
func build(t testing.TB, dir string) [][]byte {
	t.Helper()
	result, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), dir)
	if err != nil {
		t.Fatal(err)
	}
	var docs [][]byte
	for _, r := range result.Resources() {
		b, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		docs = append(docs, b)
	}
	return docs
}

// decode reads objects strictly: a field that Kubernetes does not know, or that
// is there twice, is an error.
func decode(docs [][]byte) ([]object, error) {
	var objects []object
	for _, b := range docs {
		var head metav1.TypeMeta
		if err := yaml.Unmarshal(b, &head); err != nil {
			return nil, err
		}
		kind := head.APIVersion + "/" + head.Kind
		empty, ok := kinds[kind]
		if !ok {
			return nil, fmt.Errorf("%s is a kind that this test does not know", kind)
		}
		o := object{empty(), kind, b}
		if err := yaml.UnmarshalStrict(b, o.Object); err != nil {
			return nil, fmt.Errorf("%s: %w", kind, err)
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// TestManifests checks what every folder builds to.
func TestManifests(t *testing.T) {
	manual, err := os.ReadFile("../../docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	schemas := newSchemas(t)
	for _, dir := range folders(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			objects, err := decode(build(t, dir))
			if err != nil {
				t.Fatal(err)
			}
			if len(objects) < 10 {
				t.Errorf("got %d objects only", len(objects))
			}
			for _, problem := range slices.Concat(schemas.check(objects), checkReferences(objects, string(manual)), checkPods(objects)) {
				t.Error(problem)
			}
			stages := 0
			for _, w := range workloads(objects) {
				if w.ours() {
					stages++
					for _, problem := range checkContainers(t, objects, w) {
						t.Error(problem)
					}
				}
			}
			if stages != 4 {
				t.Errorf("got %d stages, want 4", stages)
			}
		})
	}
}

// TestFaultsAreSeen breaks the example, one fault at a time.
func TestFaultsAreSeen(t *testing.T) {
	manual, err := os.ReadFile("../../docs/kubernetes.md")
	if err != nil {
		t.Fatal(err)
	}
	schemas := newSchemas(t)
	good := build(t, filepath.Join(folder, "overlays", "example"))
	tests := []struct{ name, object, old, new, want string }{
		{"misspelt field", "kind: StatefulSet", "podManagementPolicy", "podManagmentPolicy", `unknown field "podManagmentPolicy"`},
		{"field of another place", "kind: StatefulSet", "  serviceName:", "  serviceNames:", `unknown field "serviceNames"`},
		{"wrong type", "name: normalizer", "replicas: 3", "replicas: three", "cannot unmarshal string"},
		{"field twice", "kind: StatefulSet", "  replicas: 3", "  replicas: 3\n  replicas: 4", `"replicas" already set`},
		{"unknown kind", "kind: StatefulSet", "apps/v1", "apps/v1beta1", "apps/v1beta1/StatefulSet is a kind"},
		{"required field absent", "kind: StatefulSet", "  serviceName: normalizer\n", "", "serviceName"},
		{"governing service", "kind: StatefulSet", "serviceName: normalizer", "serviceName: normaliser", "no headless Service is called normaliser"},
		{"selector of a service", "kind: Service\n", "selector:\n    app.kubernetes.io/component: gateway", "selector:\n    app.kubernetes.io/component: gatewy", "Service gateway: selects no pods"},
		{"port of a service", "kind: Service\n", "targetPort: agents", "targetPort: agent", "Service gateway: no pod has a port agent"},
		{"selector of a budget", "kind: PodDisruptionBudget", "component: gateway\n      app", "component: gatewy\n      app", "PodDisruptionBudget gateway: selects no pods"},
		{"port of a probe", "kind: StatefulSet", "path: /readyz\n            port: admin", "path: /readyz\n            port: amin", "readiness probe: no port amin"},
		{"configuration map", "kind: StatefulSet", "name: sluice-", "name: sluic-", "no ConfigMap is called sluic-"},
		{"secret nobody is told of", "kind: StatefulSet", "secretName: sluice-kafka", "secretName: sluice-kafak", "Secret sluice-kafak is neither built nor in docs/kubernetes.md"},
		{"volume", "kind: StatefulSet", "name: kafka\n          readOnly", "name: kafak\n          readOnly", "no volume is called kafak"},
		{"account", "serviceAccountName: dynamodb", "serviceAccountName: dynamodb", "serviceAccountName: dynamo", "no ServiceAccount is called dynamo"},
		{"target of the autoscaler", "kind: HorizontalPodAutoscaler", "kind: Deployment\n    name: gateway", "kind: Deployment\n    name: gatewy", "nothing to scale is Deployment gatewy"},
		{"backend of the ingress", "kind: Ingress", "name: agents", "name: agent", "no Service gateway with a port agent"},
		{"port of a policy", "kind: NetworkPolicy", "port: agents", "port: agent", "NetworkPolicy gateway: no pod has a port agent"},
		{"root", "kind: StatefulSet", "runAsNonRoot: true", "runAsNonRoot: false", "may run as root"},
		{"writable root", "kind: StatefulSet", "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "root file system is writable"},
		{"capability", "kind: StatefulSet", "- ALL", "- KILL", "does not drop ALL capabilities"},
		{"memory", "kind: StatefulSet", "limits:\n            memory: 384Mi", "limits:\n            memory: 256Mi", "limit of memory is not above what is requested"},
		{"selector of the pods", "kind: StatefulSet", "component: normalizer\n      app.kubernetes.io/name: sluice\n  serviceName", "component: gateway\n      app.kubernetes.io/name: sluice\n  serviceName", "does not select its own pods"},
		{"policy of all pods", "name: stages", "  podSelector:\n    matchLabels:\n      app.kubernetes.io/name: sluice\n", "  podSelector: {}\n", "selects every pod of the namespace"},
		{"command", "kind: StatefulSet", "- normalizer\n", "- normaliser\n", "sluice normaliser is no command"},
		{"command below another", "kind: StatefulSet", "- create\n", "- crate\n", "sluice topics crate is no command"},
		{"sink", "name: dynamodb", "- dynamodb\n", "- dynamo\n", `no sink is called "dynamo"`},
		{"variable", "kind: StatefulSet", "env:\n        - name: SLUICE", "env:\n        - name: SLUICE_KAFKA__RAC\n          value: a\n        - name: SLUICE", "SLUICE_KAFKA__RAC: no such setting"},
		{"file of a variable", "kind: StatefulSet", "/run/secrets/kafka/password", "/run/secrets/kafka/passwd", "passwd"},
		{"setting", "kind: ConfigMap", "min_insync: 2", "min_insinc: 2", "min_insinc"},
		{"value of a setting", "kind: ConfigMap", "min_insync: 2", "min_insync: 4", "topics.min_insync: 4"},
		{"place of the settings", "kind: StatefulSet", "mountPath: /etc/sluice", "mountPath: /etc/sluise", "no sluice.yaml in /etc/sluice"},
		{"port of a stage", "kind: Deployment", "containerPort: 3000", "containerPort: 3001", `port agents is 3001, and sluice listens on ":3000"`},
		{"address of the admin port", "kind: ConfigMap", `listen: ":8081"`, "listen: 127.0.0.1:8081", `port admin: sluice listens on "127.0.0.1:8081"`},
		{"time to stop", "kind: StatefulSet", "terminationGracePeriodSeconds: 30", "terminationGracePeriodSeconds: 15", "15s are not enough to wait 5s and to stop"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			docs, at := slices.Clone(good), -1
			for i, b := range docs {
				if at < 0 && strings.Contains(string(b), tt.object) && strings.Contains(string(b), tt.old) {
					docs[i], at = []byte(strings.Replace(string(b), tt.old, tt.new, 1)), i
				}
			}
			if at < 0 {
				t.Fatalf("no object with %q and %q to break", tt.object, tt.old)
			}
			var got []string
			objects, err := decode(docs)
			if err != nil {
				got = []string{err.Error()}
			} else {
				got = slices.Concat(schemas.check(objects), checkReferences(objects, string(manual)), checkPods(objects))
				for _, w := range workloads(objects) {
					// One is enough where what all have in common is broken.
					if w.String() == objects[at].String() || objects[at].kind == "v1/ConfigMap" && w.GetName() == "gateway" {
						got = append(got, checkContainers(t, objects, w)...)
					}
				}
			}
			if !slices.ContainsFunc(got, func(s string) bool { return strings.Contains(s, tt.want) }) {
				t.Errorf("got %q, want one with %q", got, tt.want)
			}
		})
	}
}

// TestTopicsAsInProduction holds base and example to config/production.yaml.
func TestTopicsAsInProduction(t *testing.T) {
	read := func(path string) string {
		b, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Kafka struct {
				Topics map[string]any `json:"topics"`
			} `json:"kafka"`
		}
		if err := yaml.Unmarshal(b, &file); err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(file.Kafka.Topics)
	}
	want := read("../../config/production.yaml")
	for _, path := range []string{"base/sluice.yaml", "overlays/example/sluice.yaml"} {
		if got := read(filepath.Join(folder, path)); got != want {
			t.Errorf("%s: got kafka.topics %s, want %s", path, got, want)
		}
	}
}
