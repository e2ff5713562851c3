package kubernetes

import (
	"fmt"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// workload is what makes pods.
type workload struct {
	object
	replicas *int32
	selector *metav1.LabelSelector
	pod      *corev1.PodTemplateSpec
}

func workloads(objects []object) []workload {
	var all []workload
	for _, o := range objects {
		switch w := o.Object.(type) {
		case *appsv1.Deployment:
			all = append(all, workload{o, w.Spec.Replicas, w.Spec.Selector, &w.Spec.Template})
		case *appsv1.StatefulSet:
			all = append(all, workload{o, w.Spec.Replicas, w.Spec.Selector, &w.Spec.Template})
		}
	}
	return all
}

// ours reports whether the pods run sluice.
func (w workload) ours() bool { return w.pod.Labels["app.kubernetes.io/name"] == "sluice" }

// containers are those that start first too.
func (w workload) containers() []corev1.Container {
	return slices.Concat(w.pod.Spec.InitContainers, w.pod.Spec.Containers)
}

// hasPort reports whether a pod listens on the port, by name or number.
func (w workload) hasPort(port intstr.IntOrString) bool {
	return slices.ContainsFunc(w.pod.Spec.Containers, func(c corev1.Container) bool { return containerHasPort(c, port) })
}

func containerHasPort(c corev1.Container, port intstr.IntOrString) bool {
	return slices.ContainsFunc(c.Ports, func(p corev1.ContainerPort) bool {
		return port.StrVal != "" && p.Name == port.StrVal || port.StrVal == "" && p.ContainerPort == port.IntVal
	})
}

// matches reports whether a selector matches labels. One that is absent matches
// nothing, an empty one everything.
func matches(s *metav1.LabelSelector, set map[string]string) bool {
	selector, err := metav1.LabelSelectorAsSelector(s)
	return err == nil && selector.Matches(labels.Set(set))
}

// checker gathers what is wrong.
type checker struct {
	objects  []object
	manual   string
	problems []string
}

func (c *checker) problem(o object, format string, args ...any) {
	c.problems = append(c.problems, o.String()+": "+fmt.Sprintf(format, args...))
}

func find[T metav1.Object](c *checker, name string) (found T, ok bool) {
	for _, o := range c.objects {
		if v, is := o.Object.(T); is && o.GetName() == name {
			return v, true
		}
	}
	return found, false
}

// selected returns the workloads whose pods a selector matches, of which there
// must be some.
func (c *checker) selected(o object, s *metav1.LabelSelector) []workload {
	all := workloads(c.objects)
	chosen := slices.DeleteFunc(all, func(w workload) bool { return !matches(s, w.pod.Labels) })
	if len(chosen) == 0 {
		c.problem(o, "selects no pods")
	}
	return chosen
}

func (c *checker) port(o object, among []workload, port intstr.IntOrString) {
	if len(among) > 0 && !slices.ContainsFunc(among, func(w workload) bool { return w.hasPort(port) }) {
		c.problem(o, "no pod has a port %s", port.String())
	}
}

// checkReferences follows what one object says of another and returns what
// leads nowhere. A secret that is not built must be named in the manual.
func checkReferences(objects []object, manual string) []string {
	c := &checker{objects: objects, manual: manual}
	seen, namespaces := map[string]bool{}, map[string]bool{}
	for _, o := range objects {
		if seen[o.String()] {
			c.problem(o, "is there twice")
		}
		seen[o.String()] = true
		if ns, is := o.Object.(*corev1.Namespace); is {
			namespaces[ns.Name] = true
		}
	}
	for _, o := range objects {
		if _, is := o.Object.(*corev1.Namespace); !is && !namespaces[o.GetNamespace()] {
			c.problem(o, "is in the namespace %q, which is not made", o.GetNamespace())
		}
		switch v := o.Object.(type) {
		case *corev1.Service:
			pods := c.selected(o, &metav1.LabelSelector{MatchLabels: v.Spec.Selector})
			for _, p := range v.Spec.Ports {
				c.port(o, pods, p.TargetPort)
			}
		case *policyv1.PodDisruptionBudget:
			c.selected(o, v.Spec.Selector)
		case *networkingv1.NetworkPolicy:
			c.policy(o, v.Spec)
		case *networkingv1.Ingress:
			c.ingress(o, v.Spec)
		case *autoscalingv2.HorizontalPodAutoscaler:
			c.autoscaler(o, v.Spec)
		case *appsv1.StatefulSet:
			if s, ok := find[*corev1.Service](c, v.Spec.ServiceName); !ok || s.Spec.ClusterIP != corev1.ClusterIPNone {
				c.problem(o, "no headless Service is called %s", v.Spec.ServiceName)
			}
		}
	}
	for _, w := range workloads(objects) {
		c.workload(w)
	}
	return c.problems
}

func (c *checker) policy(o object, spec networkingv1.NetworkPolicySpec) {
	if len(spec.PodSelector.MatchLabels) == 0 && len(spec.PodSelector.MatchExpressions) == 0 {
		c.problem(o, "selects every pod of the namespace, also those that are not sluice's")
	}
	pods := c.selected(o, &spec.PodSelector)
	for _, rule := range spec.Ingress {
		for _, p := range rule.Ports {
			c.port(o, pods, *p.Port)
		}
	}
	for _, rule := range spec.Egress {
		for _, to := range rule.To {
			if to.PodSelector == nil || to.NamespaceSelector != nil {
				continue
			}
			target := c.selected(o, to.PodSelector)
			for _, p := range rule.Ports {
				c.port(o, target, *p.Port)
			}
		}
	}
}

func (c *checker) ingress(o object, spec networkingv1.IngressSpec) {
	for _, rule := range spec.Rules {
		for _, path := range rule.HTTP.Paths {
			b := path.Backend.Service
			s, ok := find[*corev1.Service](c, b.Name)
			if !ok || !slices.ContainsFunc(s.Spec.Ports, func(p corev1.ServicePort) bool {
				return p.Name == b.Port.Name || b.Port.Name == "" && p.Port == b.Port.Number
			}) {
				c.problem(o, "no Service %s with a port %s%d", b.Name, b.Port.Name, b.Port.Number)
			}
		}
	}
	for _, t := range spec.TLS {
		c.secret(o, t.SecretName)
	}
}

func (c *checker) autoscaler(o object, spec autoscalingv2.HorizontalPodAutoscalerSpec) {
	ref := spec.ScaleTargetRef
	for _, w := range workloads(c.objects) {
		if w.kind == ref.APIVersion+"/"+ref.Kind && w.GetName() == ref.Name {
			if w.replicas != nil {
				c.problem(w.object, "has a number of replicas, which every apply would set back, and an autoscaler")
			}
			if w.pod.Spec.Containers[0].Resources.Requests.Cpu().IsZero() {
				c.problem(w.object, "requests no CPU, of which its autoscaler wants a share")
			}
			return
		}
	}
	c.problem(o, "nothing to scale is %s %s", ref.Kind, ref.Name)
}

// secret reports a secret that nobody makes. Those that people make are named
// in the manual.
func (c *checker) secret(o object, name string) {
	if _, ok := find[*corev1.Secret](c, name); !ok && !strings.Contains(c.manual, "`"+name+"`") {
		c.problem(o, "Secret %s is neither built nor in docs/kubernetes.md", name)
	}
}

func (c *checker) configMap(o object, name string) {
	if _, ok := find[*corev1.ConfigMap](c, name); !ok {
		c.problem(o, "no ConfigMap is called %s", name)
	}
}

// workload checks what pods refer to.
func (c *checker) workload(w workload) {
	if !matches(w.selector, w.pod.Labels) {
		c.problem(w.object, "does not select its own pods")
	}
	for _, other := range workloads(c.objects) {
		if other.String() != w.String() && matches(w.selector, other.pod.Labels) {
			c.problem(w.object, "selects the pods of %s", other)
		}
	}
	for _, s := range w.pod.Spec.TopologySpreadConstraints {
		if !matches(s.LabelSelector, w.pod.Labels) {
			c.problem(w.object, "spreads other pods than its own")
		}
	}
	if name := w.pod.Spec.ServiceAccountName; name != "" {
		if _, ok := find[*corev1.ServiceAccount](c, name); !ok {
			c.problem(w.object, "no ServiceAccount is called %s", name)
		}
	}
	volumes := map[string]bool{}
	for _, v := range w.pod.Spec.Volumes {
		volumes[v.Name] = true
		if v.ConfigMap != nil {
			c.configMap(w.object, v.ConfigMap.Name)
		}
		if v.Secret != nil {
			c.secret(w.object, v.Secret.SecretName)
		}
	}
	if set, is := w.Object.(*appsv1.StatefulSet); is {
		for _, claim := range set.Spec.VolumeClaimTemplates {
			volumes[claim.Name] = true
		}
	}
	for _, k := range w.containers() {
		for _, m := range k.VolumeMounts {
			if !volumes[m.Name] {
				c.problem(w.object, "%s: no volume is called %s", k.Name, m.Name)
			}
		}
		for _, e := range k.EnvFrom {
			if e.SecretRef != nil {
				c.secret(w.object, e.SecretRef.Name)
			}
			if e.ConfigMapRef != nil {
				c.configMap(w.object, e.ConfigMapRef.Name)
			}
		}
		for _, e := range k.Env {
			if e.ValueFrom == nil {
				continue
			}
			if ref := e.ValueFrom.SecretKeyRef; ref != nil {
				c.secret(w.object, ref.Name)
			}
			if ref := e.ValueFrom.ConfigMapKeyRef; ref != nil {
				c.configMap(w.object, ref.Name)
			}
			if ref := e.ValueFrom.ResourceFieldRef; ref != nil && ref.ContainerName != k.Name {
				c.problem(w.object, "%s: %s looks at the resources of %s", k.Name, e.Name, ref.ContainerName)
			}
		}
		for name, p := range map[string]*corev1.Probe{"startup": k.StartupProbe, "liveness": k.LivenessProbe, "readiness": k.ReadinessProbe} {
			if p == nil {
				continue
			}
			var port intstr.IntOrString
			switch {
			case p.HTTPGet != nil:
				port = p.HTTPGet.Port
			case p.TCPSocket != nil:
				port = p.TCPSocket.Port
			}
			if !containerHasPort(k, port) {
				c.problem(w.object, "%s: %s probe: no port %s", k.Name, name, port.String())
			}
		}
	}
}
