package bench

import (
	"slices"
	"time"
)

// Figures are what a series of measurements comes to.
type Figures struct {
	Name  string        `json:"name"`
	Count int           `json:"count"`
	P50   time.Duration `json:"p50Ns,omitempty"`
	P99   time.Duration `json:"p99Ns,omitempty"`
	Rate  float64       `json:"perSecond,omitempty"`
	// Ratio compares with bare NATS: time for time, rate for rate.
	Ratio   float64 `json:"ratio,omitempty"`
	Against string  `json:"against,omitempty"`
	// Processor time for each, of all agents and the client together, of the
	// broker and of the station.
	Agents  time.Duration `json:"agentsCpuNs,omitempty"`
	Broker  time.Duration `json:"brokerCpuNs,omitempty"`
	Station time.Duration `json:"stationCpuNs,omitempty"`
}

// timed measures f one after the other, after some that do not count.
func timed(name string, count int, f func() error) (Figures, error) {
	for range count / 10 {
		if err := f(); err != nil {
			return Figures{}, err
		}
	}
	took := make([]time.Duration, 0, count)
	begun := time.Now()
	for range count {
		before := time.Now()
		if err := f(); err != nil {
			return Figures{}, err
		}
		took = append(took, time.Since(before))
	}
	whole := time.Since(begun)
	slices.Sort(took)
	return Figures{Name: name, Count: count, P50: took[count/2], P99: took[count*99/100], Rate: float64(count) / whole.Seconds()}, nil
}

func (f *Figures) against(base Figures) {
	f.Against = base.Name
	if base.P50 > 0 && f.P50 > 0 {
		f.Ratio = float64(f.P50) / float64(base.P50)
	}
}
