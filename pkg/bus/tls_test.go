package bus_test

import (
	"strings"
	"sync/atomic"
	"testing"

	"fairlead/pkg/broker"
	"fairlead/pkg/bus"
	"fairlead/subjects"
)

func TestAnUnencryptedConnectionToAnotherHostIsWarnedOf(t *testing.T) {
	s := bareWith(t, func(c *broker.Config) { c.Plain = true })
	creds := s.credentials("alice", subjects.Admin)
	for url, want := range map[string]int32{
		s.url: 0, strings.Replace(s.url, "127.0.0.1", "localhost", 1): 0, strings.TrimPrefix(s.url, "nats://"): 0,
		strings.Replace(s.url, "127.0.0.1", "0.0.0.0", 1):               1, // which leads here, and does not look so
		s.url + "," + strings.Replace(s.url, "127.0.0.1", "0.0.0.0", 1): 1,
	} {
		var warnings atomic.Int32
		c, err := bus.Connect(within(t), bus.Options{URL: url, Credentials: creds, Logger: onWarning(func() { warnings.Add(1) })})
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		if got := warnings.Load(); got != want {
			t.Errorf("%s: %d warnings, want %d", url, got, want)
		}
	}
}
