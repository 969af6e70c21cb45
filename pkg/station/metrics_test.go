package station_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/station"
	"fairlead/subjects"
)

func get(h http.Handler, path string) (int, string) {
	r := httptest.NewRecorder()
	h.ServeHTTP(r, httptest.NewRequest(http.MethodGet, path, nil))
	return r.Code, r.Body.String()
}

func TestMetricsCountNodesByPresenceAndSync(t *testing.T) {
	s := open(t)
	st, err := station.New(s.config())
	if err != nil {
		t.Fatal(err)
	}
	web := st.Metrics()
	if code, _ := get(web, "/healthz"); code != http.StatusServiceUnavailable {
		t.Errorf("/healthz is %d before the station is ready", code)
	}
	if code, _ := get(web, "/metrics"); code != http.StatusOK {
		t.Errorf("/metrics is %d before the station is ready", code)
	}
	stop := runs(t, st.Ready(), st.Run)
	s.stations++
	if code, body := get(web, "/healthz"); code != http.StatusOK || body != "ok\n" {
		t.Errorf("/healthz is %d %q", code, body)
	}
	s.nodes(map[string]string{"kind": "ship"}, "ship1", "ship2")
	s.nodes(map[string]string{"kind": "shop"}, "shop1")
	s.apply(host("site", "kind=ship", "x"))
	d, _ := s.desired("ship1")
	s.lifecycle("ship1", message.Lifecycle{Event: message.LifecycleStarted, EverySeconds: 600})
	s.report("ship1", handlers.Reported{ObservedRevision: 1, Revision: 1, Digest: d.Digest, Status: handlers.StatusApplied, RunningDigest: d.Digest})
	want := []string{
		`fairlead_nodes{presence="online",sync="in sync"} 1`,
		`fairlead_nodes{presence="never seen",sync="unknown"} 1`,
		`fairlead_nodes{presence="never seen",sync="none"} 1`,
		`fairlead_commands_waiting 2`,
	}
	body := ""
	eventually(t, "all are counted", func() bool {
		_, body = get(web, "/metrics")
		for _, line := range want {
			if !strings.Contains(body, line+"\n") {
				return false
			}
		}
		return true
	})
	if strings.Contains(body, "ship1") {
		t.Error("the metrics name nodes")
	}
	stop()
	if code, _ := get(web, "/healthz"); code != http.StatusServiceUnavailable {
		t.Errorf("/healthz is %d after the station's end", code)
	}
}

func TestAStationSaysAllThatItsConfigurationLacks(t *testing.T) {
	// Whoever revokes a node counts on it that no JWT of a node holds longer.
	_, err := station.New(station.Config{NodeLife: subjects.MaxNodeLife + time.Hour})
	if fleet.KindOf(err) != fleet.Invalid || len(strings.Split(err.Error(), "\n")) != 4 || !strings.Contains(err.Error(), "nodeLife: 2161h0m0s is longer than 90 days") {
		t.Errorf("%v", err)
	}
}
