package main

import (
	"testing"
	"time"
)

func TestServersThatAreNotUsedAreShownInWords(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	report := `{"nginx":{"servers":[
		{"upstream":"app","server":"192.0.2.1:80","state":"down","since":"2026-01-02T03:03:53Z","message":"answers 500"},
		{"upstream":"app","server":"b.example.org:80","state":"unknown","message":"left out: b.example.org has no address: no such host"}]}}`
	var got []string
	for _, s := range serversOf([]byte(report)) {
		got = append(got, serverText(s, now))
	}
	want := []string{"Upstream/app 192.0.2.1:80: down, 12s ago: answers 500",
		"Upstream/app b.example.org:80: unknown: left out: b.example.org has no address: no such host"}
	if len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("got %q", got)
	}
	if len(serversOf(nil)) != 0 || len(serversOf([]byte("{"))) != 0 {
		t.Error("a report that cannot be read has servers")
	}
}
