package syslog_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"fairlead/pkg/syslog"
)

var received = time.Date(2025, 11, 22, 3, 4, 6, 0, time.FixedZone("CET", 3600))

func TestMessagesAreReadByTheirForm(t *testing.T) {
	at := time.Date(2025, 11, 22, 2, 4, 5, 0, time.UTC)
	for name, c := range map[string]struct {
		in   string
		want syslog.Record
	}{
		"nginx without hostname": {
			`<190>Nov 22 03:04:05 nginx: 10.0.0.1 - - [22/Nov/2025:03:04:05 +0100] "GET /a: b HTTP/1.1" 200 5`,
			syslog.Record{At: at, Facility: 23, Severity: 6, App: "nginx", Message: `10.0.0.1 - - [22/Nov/2025:03:04:05 +0100] "GET /a: b HTTP/1.1" 200 5`},
		},
		"nginx's access log as JSON": {
			`<190>Nov 22 03:04:05 edge_a: {"status":200}`,
			syslog.Record{At: at, Facility: 23, Severity: 6, App: "edge_a", Message: `{"status":200}`},
		},
		"nginx's error log": {
			"<187>Nov 22 03:04:05 nginx: 2025/11/22 03:04:05 [error] 12#12: *1 open() \"/x\" failed (2: No such file or directory)\n",
			syslog.Record{At: at, Facility: 23, Severity: 3, App: "nginx", Message: `2025/11/22 03:04:05 [error] 12#12: *1 open() "/x" failed (2: No such file or directory)`},
		},
		"nginx with hostname": {
			"<190>Nov 22 03:04:05 web1 nginx: hello",
			syslog.Record{At: at, Facility: 23, Severity: 6, Host: "web1", App: "nginx", Message: "hello"},
		},
		"a tag with a pid": {
			"<34>Nov 22 03:04:05 web1 su[77]: failed",
			syslog.Record{At: at, Facility: 4, Severity: 2, Host: "web1", App: "su", PID: "77", Message: "failed"},
		},
		"RFC 3164 with an RFC 3339 time": {
			"<34>2025-11-22T03:04:05+01:00 web1 su: failed",
			syslog.Record{At: at, Facility: 4, Severity: 2, Host: "web1", App: "su", Message: "failed"},
		},
		"RFC 5424": {
			"<165>1 2025-11-22T03:04:05+01:00 web1 app 8710 ID47 [a@1 b=\"c\"] \ufeffhello",
			syslog.Record{At: at, Facility: 20, Severity: 5, Host: "web1", App: "app", PID: "8710", Message: "hello"},
		},
		"RFC 5424 with nothing but a message": {
			"<165>1 - - - - - - hello",
			syslog.Record{Facility: 20, Severity: 5, Message: "hello"},
		},
		"only a priority":           {"<13>hello there", syslog.Record{Facility: 1, Severity: 5, Message: "hello there"}},
		"a message that ends early": {"<13>Nov", syslog.Record{Facility: 1, Severity: 5, Message: "Nov"}},
		"RFC 5424 without a message": {
			"<165>1 - web1 app - - [a b=\"c\"]",
			syslog.Record{Facility: 20, Severity: 5, Host: "web1", App: "app", Message: "1 - web1 app - - [a b=\"c\"]"},
		},
		"garbage": {"what is this", syslog.Record{Facility: 1, Severity: 5, Message: "what is this"}},
		"a priority too high": {
			"<192>Nov 22 03:04:05 nginx: x",
			syslog.Record{Facility: 1, Severity: 5, Message: "<192>Nov 22 03:04:05 nginx: x"},
		},
		"invalid UTF-8": {
			"<190>Nov 22 03:04:05 nginx: a\xffb",
			syslog.Record{At: at, Facility: 23, Severity: 6, App: "nginx", Message: "a\ufffdb"},
		},
		"a terminal escape": {
			"<190>Nov 22 03:04:05 nginx: a\x1b[31mb\tc",
			syslog.Record{At: at, Facility: 23, Severity: 6, App: "nginx", Message: "a\\x1b[31mb\tc"},
		},
		"several lines": {
			"<190>Nov 22 03:04:05 nginx: a\nb\n",
			syslog.Record{At: at, Facility: 23, Severity: 6, App: "nginx", Message: "a\nb"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := syslog.ParseAt([]byte(c.in), received)
			if err != nil || got != c.want {
				t.Fatalf("got  %+v, %v\nwant %+v", got, err, c.want)
			}
		})
	}
}

func TestAYearIsTheLatestThatIsNotInTheFuture(t *testing.T) {
	for _, c := range []struct {
		received time.Time
		stamp    string
		want     int
	}{
		{time.Date(2026, 1, 1, 0, 0, 1, 0, time.UTC), "Dec 31 23:59:59", 2025},
		{time.Date(2025, 12, 31, 23, 59, 59, 0, time.UTC), "Jan  1 00:00:01", 2026},
		{time.Date(2025, 6, 1, 0, 0, 0, 0, time.UTC), "Jun  3 00:00:00", 2024},
		{time.Date(2027, 3, 1, 0, 0, 0, 0, time.UTC), "Feb 29 12:00:00", 2024},
		{time.Date(2028, 2, 29, 12, 0, 0, 0, time.UTC), "Feb 29 12:00:00", 2028},
	} {
		got, err := syslog.ParseAt([]byte("<190>"+c.stamp+" nginx: x"), c.received)
		if err != nil || got.At.Year() != c.want || got.At.Format(time.Stamp) != c.stamp {
			t.Errorf("%s received %s: got %s, want year %d", c.stamp, c.received, got.At, c.want)
		}
	}
}

func TestOnlyAnEmptyMessageIsAnError(t *testing.T) {
	for _, in := range []string{"", "\n", " \x00", "\r\n", "<13>", "<13> \n"} {
		if _, err := syslog.Parse([]byte(in)); err != syslog.ErrEmpty {
			t.Errorf("%q: got %v", in, err)
		}
	}
}

func TestAMessageOfAnyLengthIsBounded(t *testing.T) {
	for _, fill := range []string{"x", "\x1b", "\xff", "é"} {
		r, err := syslog.Parse([]byte("<190>Nov 22 03:04:05 nginx: " + strings.Repeat(fill, syslog.MaxLength)))
		if err != nil || r.App != "nginx" || len(r.Message) > syslog.MaxLength || len(r.Message) < syslog.MaxLength/2 {
			t.Errorf("%q: app %q, %d bytes, %v", fill, r.App, len(r.Message), err)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"<190>Nov 22 03:04:05 nginx: hello", "<34>Nov 22 03:04:05 web1 su[77]: failed", "<13>hello", "garbage", "<>", "<1",
		"<165>1 2025-11-22T03:04:05+01:00 web1 app 8710 ID47 [a@1 b=\"c\"] \ufeffhello", "<165>1 9999-12-31T23:59:59-23:59 - - - - - x",
		"<13>Feb 29 00:00:00 a: b", "<13>0000-01-01T00:00:00Z a b: c", "<13>1 ", "<190>Nov 22 03:04:05 nginx: \x00\xff\n",
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := syslog.ParseAt(data, received)
		if err != nil {
			if err != syslog.ErrEmpty {
				t.Fatal(err)
			}
			return
		}
		if r.Facility < 0 || r.Facility > 23 || r.Severity < 0 || r.Severity > 7 || len(r.Message) > syslog.MaxLength {
			t.Fatalf("out of bounds: %+v", r)
		}
		if r.Message == "" {
			t.Fatalf("lost: %q", data)
		}
		for _, s := range []string{r.Host, r.App, r.PID, r.Message} {
			if !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\x1b\x7f") {
				t.Fatalf("not clean: %q", s)
			}
		}
		if _, err := json.Marshal(r); err != nil {
			t.Fatal(err)
		}
	})
}
