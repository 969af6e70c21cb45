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
	// Took is the time of all of them together, where they were at once.
	Took time.Duration `json:"tookNs,omitempty"`
	// Stored is how many answers the broker stored for each command: one where
	// all were quick, more where some were told as accepted or running before.
	Stored float64 `json:"storedAnswers,omitempty"`
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
	series := []*series{{name: name, do: f}}
	err := interleaved(count, series...)
	return series[0].figures(), err
}

// series is one thing that is measured again and again.
type series struct {
	name  string
	do    func() error
	took  []time.Duration
	whole time.Duration
}

// block is how many of one series are measured before it is the next one's turn.
const block = 20

// interleaved measures series in turns: what else the machine does in these
// minutes then meets all of them alike, and their ratios hold.
func interleaved(count int, all ...*series) error {
	for _, s := range all {
		for range count / 10 { // these do not count
			if err := s.do(); err != nil {
				return err
			}
		}
	}
	for done := 0; done < count; done += block {
		for _, s := range all {
			if err := s.measure(min(block, count-done)); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *series) measure(count int) error {
	begun := time.Now()
	for range count {
		before := time.Now()
		if err := s.do(); err != nil {
			return err
		}
		s.took = append(s.took, time.Since(before))
	}
	s.whole += time.Since(begun)
	return nil
}

func (s *series) figures() Figures {
	f := Figures{Name: s.name, Count: len(s.took)}
	if len(s.took) > 0 {
		slices.Sort(s.took)
		f.P50, f.P99 = s.took[len(s.took)/2], s.took[len(s.took)*99/100]
		f.Rate = float64(len(s.took)) / s.whole.Seconds()
	}
	return f
}

func (f *Figures) against(base Figures) {
	f.Against = base.Name
	if base.P50 > 0 && f.P50 > 0 {
		f.Ratio = float64(f.P50) / float64(base.P50)
	}
}
