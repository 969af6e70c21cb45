package subjects_test

import (
	"strings"
	"testing"

	"fairlead/pkg/fleet"
	"fairlead/subjects"
)

func TestBadTokensAreRefusedWithWhatIsAllowed(t *testing.T) {
	const grammar = "letters, digits, '-' or '_'"
	for token, allowed := range map[string]string{
		"": grammar, " ": grammar, "a b": grammar, "a\tb": grammar, "a.b": grammar, "a\n": grammar, "a\x00": grammar,
		"*": grammar, ">": grammar, "a*": grammar, "schiff-ä": grammar, "\xff": grammar, "{{name()}}": grammar,
		strings.Repeat("a", 64): "1 to 63",
	} {
		for place, build := range map[string]func() (subjects.Subject, error){
			"node":   func() (subjects.Subject, error) { return subjects.Build(token, subjects.Command, "reload", "nginx") },
			"method": func() (subjects.Subject, error) { return subjects.Build("ship1", subjects.Command, token, "nginx") },
			"domain": func() (subjects.Subject, error) { return subjects.Build("ship1", subjects.Event, "reload", token) },
		} {
			_, err := build()
			if fleet.KindOf(err) != fleet.Invalid {
				t.Errorf("%s %q was taken", place, token)
				continue
			}
			for _, part := range []string{place, allowed} {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s %q: %q says nothing of %q", place, token, err, part)
				}
			}
		}
	}
	for _, reserved := range []string{"fleet", "live", "all", "local"} {
		_, err := subjects.Build(reserved, subjects.Command, "reload", "nginx")
		if fleet.KindOf(err) != fleet.Invalid || !strings.Contains(err.Error(), "reserved") {
			t.Errorf("node %q: %v", reserved, err)
		}
		if _, err := subjects.Build("ship1", subjects.Command, reserved, reserved); err != nil {
			t.Errorf("%q is reserved for nodes only: %v", reserved, err)
		}
	}
	_, err := subjects.Build("ship1", "commands", "reload", "nginx")
	if fleet.KindOf(err) != fleet.Invalid || !strings.Contains(err.Error(), "command or event") {
		t.Error(err)
	}
}

func TestASubjectHasFourTokens(t *testing.T) {
	for _, text := range []string{
		"", ".", "ship1", "ship1.command.reload", "ship1.command.reload.nginx.x", "ship1.command.reload.", ".command.reload.nginx",
		"ship1..reload.nginx", "ship1.Command.reload.nginx", "*.command.reload.nginx", "ship1.command.>", "ship1.command.reload.nginx ",
	} {
		if s, err := subjects.Parse(text); fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("%q was taken as %+v", text, s)
		}
	}
	_, err := subjects.Parse("ship1.reload")
	if err == nil || !strings.Contains(err.Error(), "<node>.<command|event>.<method>.<domain>") {
		t.Error(err)
	}
}

func TestAStoredSubjectEndsInAnID(t *testing.T) {
	for _, text := range []string{
		"", "fleet", "fleet.", "ship1.command.reload.nginx.ID", "fleet.ship1.command.reload.nginx", "fleet.ship1.command.reload.nginx.",
		"fleet.ship1.command.reload.nginx.*", "fleet.ship1.command.reload.nginx.a b", "fleet.ship1.command.reload.nginx.ID.x",
		"fleet.live.command.reload.nginx.ID", "fleet.ship1.command.reload.nginx." + strings.Repeat("a", 161),
	} {
		if s, id, err := subjects.ParseStored(text); fleet.KindOf(err) != fleet.Invalid {
			t.Errorf("%q was taken as %+v %q", text, s, id)
		}
	}
	s, id, err := subjects.ParseStored("fleet.ship1.command.reload.nginx." + subjects.NoID)
	if err != nil || id != subjects.NoID || s.String() != "ship1.command.reload.nginx" {
		t.Error(s, id, err)
	}
}

func TestAnAnswerNamesTheCommandsMethod(t *testing.T) {
	s, err := subjects.Parse("ship1.command.reload.nginx")
	if err != nil || s.Answer().String() != "ship1.event.ack.reload" {
		t.Error(s.Answer(), err)
	}
}

func FuzzBuildAndParseAreInverses(f *testing.F) {
	f.Add("ship1", "command", "reload", "nginx")
	f.Add("_", "event", "-", strings.Repeat("a", 63))
	f.Add("a.command", "event", "x.y", "*")
	f.Fuzz(func(t *testing.T, node, direction, method, domain string) {
		joined := strings.Join([]string{node, direction, method, domain}, ".")
		parsed, errParse := subjects.Parse(joined)
		built, errBuild := subjects.Build(node, subjects.Direction(direction), method, domain)
		if errBuild == nil && (errParse != nil || parsed != built || built.String() != joined) {
			t.Errorf("built %+v, written %q, parsed %+v, %v", built, built, parsed, errParse)
		}
		if errParse == nil && parsed.String() != joined {
			t.Errorf("parsed %q, written %q", joined, parsed)
		}
	})
}

func FuzzStoredAndParseStoredAreInverses(f *testing.F) {
	f.Add("ship1.command.reload.nginx", "01J9Z3", "fleet.ship1.command.reload.nginx.01J9Z3")
	f.Add("ship1.event.healthreport.nginx", "_", "fleet.fleet.command.a.b._")
	f.Fuzz(func(t *testing.T, subject, id, text string) {
		if s, err := subjects.Parse(subject); err == nil && subjects.ValidID(id) {
			got, gotID, err := subjects.ParseStored(subjects.Stored(s, id))
			if err != nil || got != s || gotID != id {
				t.Errorf("stored %+v %q, parsed %+v %q, %v", s, id, got, gotID, err)
			}
		}
		if s, id, err := subjects.ParseStored(text); err == nil && subjects.Stored(s, id) != text {
			t.Errorf("parsed %q, stored %q", text, subjects.Stored(s, id))
		}
	})
}
