package kubernetes

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
)

// checkPods holds every pod to the restricted Pod Security Standard, which the
// namespace enforces, and sluice's own to some more.
func checkPods(objects []object) []string {
	c := &checker{objects: objects}
	for _, w := range workloads(objects) {
		spec := w.pod.Spec
		s := spec.SecurityContext
		if s == nil || s.RunAsNonRoot == nil || !*s.RunAsNonRoot || s.RunAsUser == nil || *s.RunAsUser == 0 {
			c.problem(w.object, "may run as root")
		}
		if s == nil || s.SeccompProfile == nil || s.SeccompProfile.Type != corev1.SeccompProfileTypeRuntimeDefault {
			c.problem(w.object, "has no seccomp profile")
		}
		if spec.AutomountServiceAccountToken == nil || *spec.AutomountServiceAccountToken {
			c.problem(w.object, "gets a token of the cluster")
		}
		if spec.EnableServiceLinks == nil || *spec.EnableServiceLinks {
			c.problem(w.object, "gets variables for every Service")
		}
		for _, k := range w.containers() {
			s := k.SecurityContext
			if s == nil || s.AllowPrivilegeEscalation == nil || *s.AllowPrivilegeEscalation {
				c.problem(w.object, "%s: may gain privileges", k.Name)
			}
			if s == nil || s.Capabilities == nil || !slices.Equal(s.Capabilities.Drop, []corev1.Capability{"ALL"}) || len(s.Capabilities.Add) > 0 {
				c.problem(w.object, "%s: does not drop ALL capabilities", k.Name)
			}
			requests, limits := k.Resources.Requests, k.Resources.Limits
			if requests.Memory().IsZero() || limits.Memory().Cmp(*requests.Memory()) <= 0 {
				c.problem(w.object, "%s: its limit of memory is not above what is requested", k.Name)
			}
			if requests.Cpu().IsZero() {
				c.problem(w.object, "%s: requests no CPU", k.Name)
			}
			if w.ours() {
				c.own(w, k)
			}
		}
	}
	return c.problems
}

// own checks a container of sluice's.
func (c *checker) own(w workload, k corev1.Container) {
	if s := k.SecurityContext; s == nil || s.ReadOnlyRootFilesystem == nil || !*s.ReadOnlyRootFilesystem {
		c.problem(w.object, "%s: its root file system is writable", k.Name)
	}
	if !slices.ContainsFunc(k.Env, func(e corev1.EnvVar) bool {
		return e.Name == "GOMEMLIMIT" && e.ValueFrom != nil && e.ValueFrom.ResourceFieldRef != nil && e.ValueFrom.ResourceFieldRef.Resource == "requests.memory"
	}) {
		c.problem(w.object, "%s: GOMEMLIMIT is not what is requested", k.Name)
	}
	if slices.ContainsFunc(w.pod.Spec.InitContainers, func(i corev1.Container) bool { return i.Name == k.Name }) {
		return
	}
	for path, p := range map[string]*corev1.Probe{"/livez": k.LivenessProbe, "/readyz": k.ReadinessProbe} {
		if p == nil || p.HTTPGet == nil || p.HTTPGet.Path != path {
			c.problem(w.object, "%s: no probe asks %s", k.Name, path)
		}
	}
	if k.StartupProbe == nil {
		c.problem(w.object, "%s: no startup probe", k.Name)
	}
	if len(k.Ports) > 0 && w.pod.Spec.TerminationGracePeriodSeconds == nil {
		c.problem(w.object, "says nothing of the time it has to stop")
	}
}
