package station

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics serves /metrics and /healthz; the latter is 503 until the station
// is ready, or while it has no link.
func (s *Station) Metrics() http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{s})
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		select {
		case <-s.ready:
			if s.conn.Connected() {
				_, _ = w.Write([]byte("ok\n"))
				return
			}
		default:
		}
		http.Error(w, "not ready", http.StatusServiceUnavailable)
	})
	return mux
}

var (
	nodesMetric   = prometheus.NewDesc("fairlead_nodes", "Nodes by presence and by how they compare with their desired state.", []string{"presence", "sync"}, nil)
	waitingMetric = prometheus.NewDesc("fairlead_commands_waiting", "Commands without a final answer.", nil, nil)
)

var syncsMetric = prometheus.NewDesc("fairlead_syncs_total", "Questions of nodes for what waits, by what became of them.", []string{"outcome"}, nil)

var syncsMostMetric = prometheus.NewDesc("fairlead_syncs_at_once_max", "The most of them that were answered at once so far.", nil, nil)

// collector counts when it is asked.
type collector struct{ station *Station }

func (c collector) Describe(ch chan<- *prometheus.Desc) {
	ch <- nodesMetric
	ch <- waitingMetric
	ch <- syncsMetric
	ch <- syncsMostMetric
}

func (c collector) Collect(ch chan<- prometheus.Metric) {
	now := c.station.clock.Now()
	counts := make(map[[2]string]int)
	for _, r := range c.station.register.records() {
		st := c.station.status(r.Name, now)
		counts[[2]string{st.Presence, st.Sync}]++
	}
	for key, n := range counts {
		ch <- prometheus.MustNewConstMetric(nodesMetric, prometheus.GaugeValue, float64(n), key[0], key[1])
	}
	answered, busy, most := c.station.crowd.counts()
	ch <- prometheus.MustNewConstMetric(syncsMetric, prometheus.CounterValue, float64(answered), "answered")
	ch <- prometheus.MustNewConstMetric(syncsMetric, prometheus.CounterValue, float64(busy), "busy")
	ch <- prometheus.MustNewConstMetric(syncsMostMetric, prometheus.GaugeValue, float64(most))
	ch <- prometheus.MustNewConstMetric(waitingMetric, prometheus.GaugeValue, float64(c.station.ledger.len()))
}
