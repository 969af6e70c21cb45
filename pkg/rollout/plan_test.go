package rollout_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"fairlead/pkg/rollout"
)

func amounts(t *testing.T, text string) (all []rollout.Amount) {
	t.Helper()
	for one := range strings.SplitSeq(text, ",") {
		a, err := rollout.ParseAmount(one)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, a)
	}
	return all
}

func TestWavesAreCountsThatRoundUpAndGrowStrictly(t *testing.T) {
	for _, c := range []struct {
		waves, canary string
		n, canaries   int
		approve       []int
		gates         []string
		want          string // upto, ! where a person is waited for
	}{
		{waves: "1,5%,25%,100%", n: 1000, want: "1 50 250 1000"},
		{waves: "1,5%,25%,100%", n: 10, want: "1 3 10"},
		{waves: "1,5%,25%,100%", n: 3, want: "1 3"},
		{waves: "1,5%,25%,100%", n: 1, want: "1"},
		{waves: "1,5%,25%,100%", n: 0, want: "0"},
		{waves: "7%,100%", n: 100, want: "7 100"},
		{waves: "0.1%,100%", n: 10000, want: "10 10000"},
		{waves: "100%", n: 7, want: "7"},
		{waves: "5,2,100%", n: 10, want: "5 10"},
		{waves: "50,100%", n: 10, want: "10"},
		{waves: "25%,100%", canary: "role=test", n: 20, canaries: 3, want: "3 5 20"},
		{waves: "1,100%", canary: "role=test", n: 20, canaries: 3, want: "3 20"},
		{waves: "1,100%", canary: "role=test", n: 20, canaries: 0, want: "1 20"},
		{waves: "1,50%,100%", n: 10, approve: []int{1}, want: "1! 5 10"},
		{waves: "1,5%,25%,100%", n: 10, approve: []int{2}, want: "1! 3 10"},
		{waves: "1,5%,25%,100%", n: 1, approve: []int{1, 2}, want: "1"},
		{waves: "1,50%,100%", n: 10, gates: []string{"approval"}, want: "1! 5! 10"},
		{waves: "1,100%", canary: "role=test", n: 10, canaries: 2, approve: []int{1}, want: "2! 10"},
	} {
		s, err := rollout.Strategy{Waves: amounts(t, c.waves), Canary: c.canary, ApproveAfter: c.approve, Gates: c.gates}.Complete()
		if err != nil {
			t.Errorf("%s: %v", c.waves, err)
			continue
		}
		var got []string
		for _, step := range s.Steps(c.n, c.canaries) {
			got = append(got, fmt.Sprint(step.Upto)+map[bool]string{true: "!"}[step.Approve])
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%s of %d nodes with canary %q (%d): %v, not %s", c.waves, c.n, c.canary, c.canaries, got, c.want)
		}
	}
}

func TestAStrategyThatCannotBeFollowedIsRefusedWithAllThatIsWrong(t *testing.T) {
	_, err := rollout.Strategy{Waves: amounts(t, "0,50%"), Canary: "a in (", Gates: []string{"luck"}, ApproveAfter: []int{9}, OnFailure: "cry", Bake: -1}.Complete()
	for _, want := range []string{"must be 100%", "a wave of no node", "canary", `gate: "luck"`, "nothing to approve", `"cry"`, "times are positive"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("it does not say %q: %v", want, err)
		}
	}
	for _, wrong := range []string{"", "x", "-1", "0%", "101%", "NaN%", "5 %%", "1.5"} {
		if a, err := rollout.ParseAmount(wrong); err == nil {
			t.Errorf("%q is read as %v", wrong, a)
		}
	}
}

func TestAPlanThatIsNotWholeIsNone(t *testing.T) {
	good := rollout.Plan{Steps: []rollout.Step{{Upto: 1}, {Upto: 2}}, Nodes: []string{"a", "b"},
		Changes: []rollout.Change{{Key: "VirtualHost.x", Document: "1", Bases: []string{""}}}}
	good.Strategy, _ = rollout.Strategy{MaxFailed: amounts(t, "5%")[0], Bake: 90e9}.Complete()
	body, err := json.Marshal(good)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := rollout.DecodePlan(body); err != nil || !reflect.DeepEqual(p, good) {
		t.Fatalf("%+v is read as %+v: %v", good, p, err)
	}
	for name, spoil := range map[string]func(p *rollout.Plan){
		"a wave without end":     func(p *rollout.Plan) { p.Steps[1].Upto = 3 },
		"a wave that shrinks":    func(p *rollout.Plan) { p.Steps = []rollout.Step{{Upto: 2}, {Upto: 2}} },
		"no wave":                func(p *rollout.Plan) { p.Steps = nil },
		"a node twice":           func(p *rollout.Plan) { p.Nodes = []string{"a", "a"} },
		"no node's name":         func(p *rollout.Plan) { p.Nodes = []string{"a", "*"} },
		"no change":              func(p *rollout.Plan) { p.Changes = nil },
		"a change of nothing":    func(p *rollout.Plan) { p.Changes[0].Document = "" },
		"a change over anything": func(p *rollout.Plan) { p.Changes[0].Bases = nil },
		"no key":                 func(p *rollout.Plan) { p.Changes[0].Key = "x" },
		"a gate that is none":    func(p *rollout.Plan) { p.Strategy.Gates = []string{"luck"} },
	} {
		var p rollout.Plan
		if err := json.Unmarshal(body, &p); err != nil {
			t.Fatal(err)
		}
		spoil(&p)
		if p.Validate() == nil {
			t.Errorf("%s is a plan", name)
		}
	}
}

func TestWhatTwoPlansHaveInCommonIsNamed(t *testing.T) {
	plan := func(key string, nodes ...string) rollout.Plan {
		return rollout.Plan{Nodes: nodes, Changes: []rollout.Change{{Key: key}}}
	}
	for _, c := range []struct {
		a, b rollout.Plan
		want string
	}{
		{plan("VirtualHost.x", "a", "b"), plan("VirtualHost.y", "c"), ""},
		{plan("VirtualHost.x", "a", "b"), plan("VirtualHost.y", "c", "b"), "node b"},
		{plan("VirtualHost.x", "a"), plan("VirtualHost.x", "c"), "VirtualHost/x"},
	} {
		if got := c.a.Overlap(c.b); got != c.want {
			t.Errorf("%q, not %q", got, c.want)
		}
	}
}

func TestAGateIsReadAsPeopleWriteIt(t *testing.T) {
	for text, want := range map[string]rollout.Gate{
		"approval":                             {Kind: "approval"},
		"health:nginx.counters.active<1000":    {Kind: "health", What: "nginx.counters.active", Op: "<", Value: 1000},
		"health:host.load1 <= 1.5":             {Kind: "health", What: "host.load1", Op: "<=", Value: 1.5},
		"5xx<1%":                               {Kind: "5xx", Op: "<", Value: 1},
		"program:smoke-test":                   {Kind: "program", What: "smoke-test"},
		"prometheus:http://h:9090?query=up==1": {Kind: "prometheus", What: "http://h:9090?query=up", Op: "==", Value: 1},
		"prometheus:https://h/p?query=sum(e{a!=\"b\"}) > 2 < 5":  {Kind: "prometheus", What: "https://h/p?query=sum(e{a!=\"b\"}) > 2", Op: "<", Value: 5},
		"prometheus:http://h:9090?query=rate(e[1m]) - 1 >=-1e-3": {Kind: "prometheus", What: "http://h:9090?query=rate(e[1m]) - 1", Op: ">=", Value: -1e-3},
	} {
		g, err := rollout.ParseGate(text)
		if err != nil || g.Kind != want.Kind || g.What != want.What || g.Op != want.Op || g.Value != want.Value || g.String() != text {
			t.Errorf("%s: %+v, %v", text, g, err)
		}
	}
	for _, wrong := range []string{"", "luck", "health:", "health:x", "health:x<", "health:x<y", "health:x=5", "health:../x<1", "health:x<5%", "5xx", "5xxx<1%", "5xx<1",
		"program:", "program:../x", "program:.x", "program:a/b", "prometheus:h?query=x<5", "prometheus:http://h<5", "prometheus:http://h?query=<5",
		"prometheus:http://u:p@h?query=x<5", "prometheus:file:///x?query=x<5", "<5"} {
		if g, err := rollout.ParseGate(wrong); err == nil {
			t.Errorf("%q is read as %+v", wrong, g)
		}
	}
	g, _ := rollout.ParseGate("health:x<=5")
	if !g.Holds(5) || g.Holds(5.1) {
		t.Error("5 is more than 5")
	}
}
