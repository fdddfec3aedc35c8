package verify

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/BurntSushi/toml"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	apps "k8s.io/api/apps/v1"
	scaling "k8s.io/api/autoscaling/v2"
	core "k8s.io/api/core/v1"
	policy "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/util/validation/field"
	"k8s.io/kubernetes/pkg/api/legacyscheme"
	internalapps "k8s.io/kubernetes/pkg/apis/apps"
	_ "k8s.io/kubernetes/pkg/apis/apps/install"
	appsvalidation "k8s.io/kubernetes/pkg/apis/apps/validation"
	internalscaling "k8s.io/kubernetes/pkg/apis/autoscaling"
	_ "k8s.io/kubernetes/pkg/apis/autoscaling/install"
	scalingvalidation "k8s.io/kubernetes/pkg/apis/autoscaling/validation"
	internalcore "k8s.io/kubernetes/pkg/apis/core"
	_ "k8s.io/kubernetes/pkg/apis/core/install"
	corevalidation "k8s.io/kubernetes/pkg/apis/core/validation"
	internalpolicy "k8s.io/kubernetes/pkg/apis/policy"
	_ "k8s.io/kubernetes/pkg/apis/policy/install"
	policyvalidation "k8s.io/kubernetes/pkg/apis/policy/validation"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
)

const manifests = "../kubernetes"

// applied is what "kubectl apply -k" sends, read as strictly as the API server reads
// it: a field that does not exist, or stands there twice, is an error.
func applied(t *testing.T) []runtime.Object {
	t.Helper()
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), manifests)
	if err != nil {
		t.Fatal(err)
	}
	if err := monitoring.AddToScheme(legacyscheme.Scheme); err != nil {
		t.Fatal(err)
	}
	strict := serializer.NewCodecFactory(legacyscheme.Scheme, serializer.EnableStrict).UniversalDeserializer()
	var objects []runtime.Object
	for _, r := range built.Resources() {
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		object, _, err := strict.Decode(text, nil, nil)
		if err != nil {
			t.Fatalf("%s: %v\n%s", r.CurId(), err, text)
		}
		objects = append(objects, object)
	}
	return objects
}

// only is the one object of its kind that holds is true of.
func only[T runtime.Object](t *testing.T, objects []runtime.Object, holds func(T) bool) T {
	t.Helper()
	var found []T
	for _, o := range objects {
		if o, ok := o.(T); ok && holds(o) {
			found = append(found, o)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d of the kind %T, want 1", len(found), *new(T))
	}
	return found[0]
}

func whichever[T runtime.Object](T) bool { return true }

// validate gives what the API server would refuse of an object, after its defaults.
func validate(object runtime.Object) error {
	legacyscheme.Scheme.Default(object)
	internal, err := legacyscheme.Scheme.ConvertToVersion(object, runtime.InternalGroupVersioner)
	if err != nil {
		return err
	}
	o, err := meta.Accessor(internal)
	if err != nil {
		return err
	}
	o.SetNamespace("default") // of the context
	var errs field.ErrorList
	switch o := internal.(type) {
	case *internalapps.Deployment:
		errs = appsvalidation.ValidateDeployment(o, corevalidation.PodValidationOptions{})
	case *internalcore.Service:
		if o.Spec.ClusterIP != "" { // these two the API server draws before it validates
			o.Spec.ClusterIPs = []string{o.Spec.ClusterIP}
		}
		if o.Spec.Type == internalcore.ServiceTypeLoadBalancer {
			o.Spec.HealthCheckNodePort = 30000
		}
		errs = corevalidation.ValidateServiceCreate(o)
	case *internalcore.ConfigMap:
		errs = corevalidation.ValidateConfigMap(o)
	case *internalpolicy.PodDisruptionBudget:
		errs = policyvalidation.ValidatePodDisruptionBudget(o, policyvalidation.PodDisruptionBudgetValidationOptions{})
	case *internalscaling.HorizontalPodAutoscaler:
		errs = scalingvalidation.ValidateHorizontalPodAutoscaler(o, scalingvalidation.HorizontalPodAutoscalerSpecValidationOptions{MinReplicasLowerBound: 1})
	default:
		return fmt.Errorf("this test cannot validate %T", o)
	}
	return errs.ToAggregate()
}

// TestTheAPIServerTakesTheManifests asks the code of the API server itself, which
// knows more than its schemas.
func TestTheAPIServerTakesTheManifests(t *testing.T) {
	kinds := map[string]int{}
	for _, o := range applied(t) {
		kinds[o.GetObjectKind().GroupVersionKind().Kind]++
		if _, ok := o.(*monitoring.ServiceMonitor); ok {
			continue // is not of the API server's; its fields have been looked at as it was read
		}
		if err := validate(o); err != nil {
			t.Errorf("%T: %v", o, err)
		}
	}
	for _, kind := range []string{"Deployment", "Service", "ConfigMap", "PodDisruptionBudget", "HorizontalPodAutoscaler", "ServiceMonitor"} {
		if kinds[kind] == 0 {
			t.Errorf("there is no %s", kind)
		}
	}
}

// TestTheManifestsFitEachOther follows each name from one object to the next.
func TestTheManifestsFitEachOther(t *testing.T) {
	all := applied(t)
	deployment := only(t, all, whichever[*apps.Deployment])
	pod := deployment.Spec.Template
	matches := func(what string, selector labels.Selector, by map[string]string) {
		t.Helper()
		if selector.Empty() || !selector.Matches(labels.Set(by)) {
			t.Errorf("%s selects %q, and there is %v", what, selector, by)
		}
	}
	from := func(s *metav1.LabelSelector) labels.Selector {
		t.Helper()
		selector, err := metav1.LabelSelectorAsSelector(s)
		if err != nil {
			t.Fatal(err)
		}
		return selector
	}
	matches("the deployment", from(deployment.Spec.Selector), pod.Labels)
	matches("the disruption budget", from(only(t, all, whichever[*policy.PodDisruptionBudget]).Spec.Selector), pod.Labels)
	for _, c := range pod.Spec.TopologySpreadConstraints {
		matches("the spread over "+c.TopologyKey, from(c.LabelSelector), pod.Labels)
	}
	ports := map[string]int32{}
	for _, p := range pod.Spec.Containers[0].Ports {
		ports[p.Name] = p.ContainerPort
	}
	for _, o := range all {
		if s, ok := o.(*core.Service); ok {
			matches("the service "+s.Name, labels.SelectorFromSet(s.Spec.Selector), pod.Labels)
			if _, ok := ports[s.Spec.Ports[0].TargetPort.StrVal]; !ok {
				t.Errorf("the service %s goes to %s, which no container has", s.Name, s.Spec.Ports[0].TargetPort.StrVal)
			}
		}
	}
	monitor := only(t, all, whichever[*monitoring.ServiceMonitor])
	admin := only(t, all, func(s *core.Service) bool { return from(&monitor.Spec.Selector).Matches(labels.Set(s.Labels)) })
	if admin.Labels[monitor.Spec.JobLabel] != "smtpshim" || admin.Spec.Ports[0].Name != monitor.Spec.Endpoints[0].Port || admin.Spec.Type == core.ServiceTypeLoadBalancer {
		t.Errorf("Prometheus asks for the port %s of %+v", monitor.Spec.Endpoints[0].Port, admin)
	}
	public := only(t, all, func(s *core.Service) bool { return s.Spec.Type == core.ServiceTypeLoadBalancer })
	if public.Spec.ExternalTrafficPolicy != core.ServiceExternalTrafficPolicyLocal || len(public.Spec.Ports) != 1 || public.Spec.Ports[0].Port != 25 {
		t.Errorf("clients come by %+v", public.Spec)
	}
	if to := only(t, all, whichever[*scaling.HorizontalPodAutoscaler]).Spec.ScaleTargetRef; to.Name != deployment.Name || to.Kind != "Deployment" {
		t.Errorf("the autoscaler scales %v", to)
	}
}

// TestThePodIsRestricted is the strictest of the Pod Security Standards, and
// read-only files.
func TestThePodIsRestricted(t *testing.T) {
	pod := only(t, applied(t), whichever[*apps.Deployment]).Spec.Template.Spec
	c := pod.Containers[0].SecurityContext
	if pod.HostNetwork || pod.HostPID || !*pod.SecurityContext.RunAsNonRoot || pod.SecurityContext.SeccompProfile.Type != core.SeccompProfileTypeRuntimeDefault ||
		*c.AllowPrivilegeEscalation || !*c.ReadOnlyRootFilesystem || !slices.Contains(c.Capabilities.Drop, "ALL") || len(c.Capabilities.Add) > 0 {
		t.Errorf("%+v\n%+v", pod.SecurityContext, c)
	}
}

// settings are what the ConfigMap says, for what these tests compare.
type settings struct {
	Drain string
	Admin struct {
		Listen string
		Public bool
	}
	Route []struct{ Listen []string }
}

func TestTheConfigMapIsRightAndFitsTheDeployment(t *testing.T) {
	all := applied(t)
	pod := only(t, all, whichever[*apps.Deployment]).Spec.Template.Spec
	configMap := only(t, all, whichever[*core.ConfigMap])
	if pod.Volumes[0].ConfigMap.Name != configMap.Name {
		t.Errorf("the pod mounts %s", pod.Volumes[0].ConfigMap.Name)
	}
	text := configMap.Data["smtpshim.toml"]
	file := filepath.Join(t.TempDir(), "smtpshim.toml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("go", "run", "-C", repository, "-buildvcs=false", "./cmd/smtpshim", "check", "-config", file).CombinedOutput(); err != nil {
		t.Errorf("smtpshim check: %v\n%s", err, out)
	}
	var s settings
	if _, err := toml.Decode(text, &s); err != nil {
		t.Fatal(err)
	}
	drain, err := time.ParseDuration(s.Drain)
	if err != nil {
		t.Fatal(err)
	}
	container := pod.Containers[0]
	grace := time.Duration(*pod.TerminationGracePeriodSeconds) * time.Second
	if before := time.Duration(container.Lifecycle.PreStop.Sleep.Seconds) * time.Second; grace <= before+drain {
		t.Errorf("it is killed after %v, and needs %v before it drains for %v", grace, before, drain)
	}
	for _, p := range container.Ports {
		if at := fmt.Sprintf(":%d", p.ContainerPort); at != s.Admin.Listen && !slices.Contains(s.Route[0].Listen, at) {
			t.Errorf("nobody listens at %s, the port %s", at, p.Name)
		}
	}
	for path, probe := range map[string]*core.Probe{"/healthz": container.LivenessProbe, "/readyz": container.ReadinessProbe} {
		if probe.HTTPGet.Path != path || probe.HTTPGet.Port.StrVal != "admin" || !s.Admin.Public {
			t.Errorf("the kubelet asks for %+v", probe.HTTPGet)
		}
	}
	if mount := container.VolumeMounts[0]; !strings.HasPrefix(imageCommand(t, "")[2], mount.MountPath+"/") {
		t.Errorf("the configuration is mounted at %s", mount.MountPath)
	}
}
