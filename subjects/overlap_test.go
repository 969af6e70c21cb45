package subjects_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"fairlead/subjects"
)

// overlap reports whether some subject matches both patterns.
func overlap(a, b string) bool {
	x, y := strings.Split(a, "."), strings.Split(b, ".")
	for i := 0; ; i++ {
		switch {
		case i == len(x) || i == len(y):
			return len(x) == len(y)
		case x[i] == ">" || y[i] == ">":
			return true
		case x[i] != y[i] && x[i] != "*" && y[i] != "*":
			return false
		}
	}
}

func TestOverlapIsUnderstood(t *testing.T) {
	for pair, want := range map[[2]string]bool{
		{"a.b", "a.b"}: true, {"a.*", "a.b"}: true, {"a.>", "a.b.c"}: true, {"*.b", "a.*"}: true, {">", "a"}: true,
		{"a.b", "a.c"}: false, {"a.>", "a"}: false, {"a.*", "a.b.c"}: false, {"a.b", "a.b.c"}: false,
	} {
		if overlap(pair[0], pair[1]) != want || overlap(pair[1], pair[0]) != want {
			t.Errorf("%v: want %v", pair, want)
		}
	}
}

func TestEverySubjectIsKeptByOneStreamAtMost(t *testing.T) {
	type kept struct{ stream, subject string }
	var all []kept
	for _, s := range subjects.Streams(subjects.Settings{}) {
		for _, subject := range s.Subjects {
			all = append(all, kept{s.Name, subject})
		}
	}
	for _, b := range subjects.Buckets(subjects.Settings{}) {
		all = append(all, kept{subjects.BucketStream(b.Name), subjects.KeySubject(b.Name, ">")})
	}
	for i, a := range all {
		for _, b := range all[i+1:] {
			if overlap(a.subject, b.subject) {
				t.Errorf("%s keeps %s and %s keeps %s", a.stream, a.subject, b.stream, b.subject)
			}
		}
	}
}

func TestNoStreamKeepsWhatIsShownOrSpoken(t *testing.T) {
	for _, s := range subjects.Streams(subjects.Settings{}) {
		for _, subject := range s.Subjects {
			subject = strings.Replace(subject, "*", "ship1", 1) // no node is called command or event
			for _, spoken := range []string{"*.command.>", "*.event.>", "live.>", "_INBOX.>", "_INBOX_NODE.>", "$JS.>", "$KV.>", "$SYS.>"} {
				if overlap(subject, spoken) {
					t.Errorf("%s keeps %s, which is %s", s.Name, subject, spoken)
				}
			}
		}
	}
}

// common is what every node may do alike: read and hear the signed trust set, hear
// questions, which name nobody, and read files.
var common = map[string]bool{
	"$JS.API.DIRECT.GET.KV_trust": true, "$JS.API.DIRECT.GET.KV_trust.$KV.trust.set": true, "live.trust.set": true, "live.ask": true,
	"$JS.API.DIRECT.GET.KV_blobs.$KV.blobs.*": true,
}

func TestTwoNodesPermissionsHaveNothingElseInCommon(t *testing.T) {
	grant := subjects.Grant(subjects.Node, nil)
	for kind, patterns := range map[string][]string{"publish": grant.Publish, "subscribe": grant.Subscribe} {
		if len(patterns) == 0 {
			t.Errorf("a node may %s nothing", kind)
		}
		for _, mine := range patterns {
			for _, theirs := range patterns {
				mine, theirs := named(mine, "ship1"), named(theirs, "ship12")
				if overlap(mine, theirs) && !common[mine] {
					t.Errorf("ship1 may %s %s, ship12 %s", kind, mine, theirs)
				}
			}
		}
	}
}

// named expands the template as nats-server does.
func named(pattern, name string) string { return strings.ReplaceAll(pattern, "{{name()}}", name) }

func TestNobodyButTheNodeAndStationsSpeaksForANode(t *testing.T) {
	for _, role := range []subjects.Role{subjects.Admin, subjects.Operator, subjects.Viewer} {
		for _, pattern := range subjects.Grant(role, sent[role]).Publish {
			if overlap(pattern, "fleet.ship1.event.>") {
				t.Errorf("%s may publish %s", role, pattern)
			}
		}
	}
}

// What a role may do that is for one purpose alone.
func TestWhoJoinsOrRenewsDoesNothingElse(t *testing.T) {
	for role, publish := range map[subjects.Role]string{subjects.Join: "live.join.{{name()}}", subjects.Renew: "live.renew.{{name()}}"} {
		inbox := subjects.InboxOf(role, "{{name()}}") + ".>"
		grant := subjects.Grant(role, []string{"reload"})
		if !slices.Equal(grant.Publish, []string{publish}) || !slices.Equal(grant.Subscribe, []string{inbox}) {
			t.Errorf("%s: %+v", role, grant)
		}
	}
}

func TestOnlyGrantedMethodsMayBeSent(t *testing.T) {
	for role, methods := range map[subjects.Role]map[string]bool{
		subjects.Admin:    {"reload": true, "shellcommand": true},
		subjects.Station:  {"reload": true, "shellcommand": true},
		subjects.Operator: {"reload": true, "shellcommand": false},
		subjects.Viewer:   {"reload": false, "shellcommand": false},
		subjects.Node:     {"reload": false, "shellcommand": false},
	} {
		for method, want := range methods {
			subject := fmt.Sprintf("fleet.ship1.command.%s.nginx.ID", method)
			got := false
			for _, pattern := range subjects.Grant(role, sent[role]).Publish {
				got = got || overlap(named(pattern, "ship1"), subject)
			}
			if got != want {
				t.Errorf("%s may send %s: %v, want %v", role, method, got, want)
			}
		}
	}
}
