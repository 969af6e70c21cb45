package station_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"fairlead/handlers"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

// bare is what Debian's nginx says of itself without further packages.
func bare() *fleet.Facts {
	return &fleet.Facts{Hostname: "host", Nginx: "1.22.1", Features: []string{"http_ssl", "http_v2"}}
}

func resourceOf(name string, spec fleet.Spec) fleet.Resource {
	return fleet.Resource{APIVersion: fleet.APIVersion, Kind: spec.Kind(), Metadata: fleet.Metadata{Name: name}, Spec: spec}
}

func streamFile(name string) fleet.Resource {
	return resourceOf(name, &fleet.ConfigFile{Context: "stream", Content: "server { listen 127.0.0.1:9; return x; }\n"})
}

func unfits(p station.Plan) string {
	var lines []string
	for _, u := range p.Unfit {
		lines = append(lines, u.Resource+": "+u.Reason)
	}
	return strings.Join(lines, "\n")
}

func TestWhatANodeCannotTakeIsLeftOutAndTheRestGoesOn(t *testing.T) {
	full := bare()
	full.Modules = []string{"ngx_stream_module"}
	plans := compile(t, []fleet.Resource{host("web", "", "x"), streamFile("tcp")},
		record("able").WithFacts(full), record("lacking").WithFacts(bare()), record("untold"))
	for _, node := range []string{"able", "untold"} {
		if p := plans[node]; p.Err != nil || p.Unfit != nil || !slices.Equal(names(p), []string{"ConfigFile/tcp", "VirtualHost/web"}) {
			t.Errorf("%s gets %v without %v, %v", node, names(p), p.Unfit, p.Err)
		}
	}
	p := plans["lacking"]
	if p.Err != nil || !slices.Equal(names(p), []string{"VirtualHost/web"}) || p.Bundle.Digest == "" {
		t.Errorf("it gets %v, %v", names(p), p.Err)
	}
	if got := unfits(p); got != "ConfigFile/tcp: nginx 1.22.1 there has no stream module (Debian's package is libnginx-mod-stream)" {
		t.Error(got)
	}
}

// What is wrong with a file is found where a module is missing too; that the
// module is off there is not what is wrong.
func TestRawConfigurationThatIsLeftOutIsInspectedToo(t *testing.T) {
	wrong := file("wrong", "brotli on;\nload_module x.so;\n")
	tcp := resourceOf("tcp", &fleet.ConfigFile{Context: "stream", Content: "server { listen 127.0.0.1:9; nonsense 1; }\n"})
	p := compile(t, []fleet.Resource{host("web", "", "x"), wrong, tcp, file("fine", "brotli on;\n"), streamFile("fine-tcp")}, record("n1").WithFacts(bare()))["n1"]
	if p.Err != nil || !slices.Equal(names(p), []string{"VirtualHost/web"}) || len(p.Unfit) != 4 {
		t.Errorf("it gets %v without %v, %v", names(p), p.Unfit, p.Err)
	}
	if got := p.Wrong; len(got) != 2 || got[0].Subject != "ConfigFile/tcp" || !strings.Contains(got[0].Message, `line 1: "nonsense" is no directive`) ||
		got[1].Subject != "ConfigFile/wrong" || got[1].Path != "spec.content" || !strings.Contains(got[1].Message, `line 2: "load_module" runs a library as root`) {
		t.Errorf("wrong is %v", got)
	}
}

func TestWhatNeedsSomethingUnfitIsUnfitToo(t *testing.T) {
	canary := resourceOf("canary", &fleet.Split{Branches: []fleet.Branch{{Upstream: "app"}}})
	app := upstream("app", "${node.labels.app}:80")
	site := proxy("site", "", "app")
	plans := compile(t, []fleet.Resource{canary, app, site, host("web", "", "x")}, record("n1").WithFacts(bare()), record("n2", "app=192.0.2.1").WithFacts(bare()))
	p := plans["n1"]
	if got := unfits(p); p.Err != nil || !strings.Contains(got, `Upstream/app: spec.servers[0].address: the node has no label "app"`) || !strings.Contains(got, "VirtualHost/site: it needs Upstream/app: ") {
		t.Errorf("%v\n%s", p.Err, got)
	}
	if got := names(p); !slices.Equal(got, []string{"VirtualHost/web"}) {
		t.Errorf("it gets %v", got)
	}
	if got := names(plans["n2"]); !slices.Equal(got, []string{"Upstream/app", "VirtualHost/site", "VirtualHost/web"}) {
		t.Errorf("n2 gets %v", got)
	}
}

func TestRawConfigurationIsUnfitWhereItsModuleIsNot(t *testing.T) {
	allow := resourceOf("shops", &fleet.NodePolicy{Modules: []string{"ngx_http_headers_more_filter_module"}})
	raw := file("extra", "map $host $x { more_of 1; }\nserver { listen 127.0.0.1:9; more_set_headers 'A: b'; }\n")
	fine := file("fine", "map $host $y { more_set_headers 1; }\n")
	with := bare()
	with.Modules = []string{"ngx_http_headers_more_filter_module"}
	plans := compile(t, []fleet.Resource{allow, raw, fine}, record("n1").WithFacts(bare()), record("n2").WithFacts(with))
	if got := unfits(plans["n1"]); !strings.Contains(got, "ConfigFile/extra: ") || !strings.Contains(got, "libnginx-mod-http-headers-more-filter") || strings.Contains(got, "fine") {
		t.Error(got)
	}
	if p := plans["n2"]; p.Err != nil || p.Unfit != nil {
		t.Errorf("%v, %v", p.Unfit, p.Err)
	}
}

// The desired document of a node holds plain resources.
func TestVariablesAreResolvedForEachNode(t *testing.T) {
	web := host("web", "", "x")
	web.Spec.(*fleet.VirtualHost).ServerNames = []string{"${node.name}.${node.labels.region}.example.org"}
	plans := compile(t, []fleet.Resource{web, proxy("app", "", "app-${node.labels.region}"), upstream("app-eu", "192.0.2.1:80"), upstream("app-us", "192.0.2.2:80")},
		record("n1", "region=eu"), record("n2", "region=us"), record("n3", "region=asia"), record("n4", "region=eu"))
	for node, want := range map[string]string{"n1": "n1.eu.example.org", "n2": "n2.us.example.org", "n3": "n3.asia.example.org", "n4": "n4.eu.example.org"} {
		p := plans[node]
		web := p.Resources[slices.IndexFunc(p.Resources, func(r fleet.Resource) bool { return r.ID() == "VirtualHost/web" })].Spec.(*fleet.VirtualHost)
		if p.Err != nil || web.ServerNames[0] != want || len(web.ServerNames) != 1 {
			t.Errorf("%s: %v, %v", node, web.ServerNames, p.Err)
		}
	}
	if got := names(plans["n2"]); !slices.Equal(got, []string{"Upstream/app-us", "VirtualHost/app", "VirtualHost/web"}) {
		t.Errorf("n2 gets %v", got)
	}
	if got := unfits(plans["n3"]); got != "VirtualHost/app: spec.locations[0].proxy.upstream: there is no Upstream/app-asia" {
		t.Error(got)
	}
	if web.Spec.(*fleet.VirtualHost).ServerNames[0] != "${node.name}.${node.labels.region}.example.org" {
		t.Error("the resource itself was changed")
	}
}

func TestNodesWithOtherValuesNeverShareABundle(t *testing.T) {
	web := host("web", "", "x")
	web.Spec.(*fleet.VirtualHost).Headers = map[string]string{"X-Host": "${node.facts.hostname}", "X-Region": "${node.labels.region|none}"}
	var nodes []station.NodeRecord
	for i := range 50 {
		f := bare()
		f.Hostname = fmt.Sprintf("h%d", i/10)
		n := record(fmt.Sprintf("n%d", i)).WithFacts(f)
		if i%10 > 4 {
			n.Labels["region"] = "eu"
		}
		nodes = append(nodes, n)
	}
	digests := map[string]int{}
	for _, p := range compile(t, []fleet.Resource{web}, nodes...) {
		digests[p.Bundle.Digest]++
	}
	if len(digests) != 10 {
		t.Errorf("50 nodes with 10 sorts of values have %v", digests)
	}
}

func TestAFactThatIsNoPlainWordIsRefused(t *testing.T) {
	web := host("web", "", "x")
	web.Spec.(*fleet.VirtualHost).Headers = map[string]string{"X-Host": "${node.facts.hostname}"}
	evil := bare()
	evil.Hostname = "a\"; } server { listen 1"
	p := compile(t, []fleet.Resource{web}, record("n1").WithFacts(evil))["n1"]
	if got := unfits(p); !strings.Contains(got, `VirtualHost/web: spec.headers.X-Host: the node's fact hostname is "a\"; } server { listen 1"`) {
		t.Error(got)
	}
	if _, err := station.DecodeFacts([]byte(`{"hostname":"` + strings.Repeat("a", 300) + `"}`)); fleet.KindOf(err) != fleet.Invalid {
		t.Errorf("got %v", err)
	}
}

func BenchmarkCompileTenThousandNodesWithVariables(b *testing.B) {
	resources := []fleet.Resource{upstream("app", "192.0.2.1:80"), proxy("shop", "kind=shop", "app")}
	for i := range 50 {
		h := host(fmt.Sprintf("h%d", i), fmt.Sprintf("zone=z%d", i%10), "x")
		h.Spec.(*fleet.VirtualHost).Headers = map[string]string{"X-Zone": "${node.labels.zone}"}
		resources = append(resources, h)
	}
	nodes := make([]station.NodeRecord, 10_000)
	for i := range nodes {
		nodes[i] = record(fmt.Sprintf("n%05d", i), fmt.Sprintf("zone=z%d", i%10), "kind=shop").WithFacts(bare())
	}
	for b.Loop() {
		if _, err := station.Compile(resources, nodes); err != nil {
			b.Fatal(err)
		}
	}
}

// A node that gets the module takes by itself what was left out before.
func TestANodeTakesWhatWasLeftOutWhenItsFactsChange(t *testing.T) {
	s := running(t)
	s.nodes(nil, "n1")
	lacking := bare()
	s.facts("n1", lacking)
	eventually(t, "the station knows the facts", func() bool { return s.node("n1").Facts != nil })
	s.apply(host("web", "", "x"), streamFile("tcp"))
	d, _ := s.desired("n1")
	if len(d.Unfit) != 1 || d.Unfit[0].Resource != "ConfigFile/tcp" || len(d.Resources) != 1 {
		t.Fatalf("it is to be %+v", d)
	}
	s.report("n1", handlers.Reported{Revision: d.Revision, ObservedRevision: d.Revision, Status: handlers.StatusApplied, Digest: d.Digest, RunningDigest: d.Digest})
	eventually(t, "it is told as unfit", func() bool {
		n := s.node("n1")
		return n.Sync == station.Unfit && strings.Contains(n.Message, "it cannot take ConfigFile/tcp: nginx 1.22.1 there has no stream module")
	})
	able := bare()
	able.Modules = []string{"ngx_stream_module"}
	s.facts("n1", able)
	before := d.Revision // 2 where the station saw one of the two resources first
	eventually(t, "it gets all", func() bool {
		d, _ := s.desired("n1")
		return len(d.Unfit) == 0 && len(d.Resources) == 2 && d.Revision == before+1
	})
}

// facts reports what a node says of itself.
func (s *site) facts(name string, f *fleet.Facts) {
	s.t.Helper()
	body, err := json.Marshal(f)
	if err != nil {
		s.t.Fatal(err)
	}
	s.put(name, subjects.Node, subjects.Reported, subjects.StateKey(name, subjects.MethodLifecycle, message.LifecycleDomain),
		message.ReportedSubject(name, subjects.MethodLifecycle, message.LifecycleDomain), body, s.creds(name, subjects.Node), nil)
}
