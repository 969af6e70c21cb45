package main

import (
	"encoding/json"
	"testing"
	"time"
)

func TestWhatALinkCarriedIsShownWithItsDay(t *testing.T) {
	now := time.Date(2026, 11, 27, 1, 0, 0, 0, time.FixedZone("", 2*60*60)) // the 26th in UTC
	for report, want := range map[string]string{
		``:           "",
		`{}`:         "",
		`{"link":7}`: "",
		`{"link":{"day":"2026-11-26","inBytes":3145728,"outBytes":104857}}`:                           "3.1 MiB today",
		`{"link":{"day":"2026-11-26","inBytes":3145728,"outBytes":104857,"yesterdayBytes":13002342}}`: "3.1 MiB today, 12.4 MiB yesterday",
		`{"link":{"day":"2026-11-24","inBytes":1024,"outBytes":1024,"yesterdayBytes":512}}`:           "2.0 KiB on 2026-11-24, 512 B the day before",
	} {
		if got := linkText(json.RawMessage(report), now); got != want {
			t.Errorf("%s is shown as %q, want %q", report, got, want)
		}
	}
}
