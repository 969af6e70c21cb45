package agent

import (
	"io"
	"net"
	"testing"
	"time"
)

// counted is a budget on a clock that only its own waits and the test move.
func counted(t *testing.T, rate int64) (b *budget, clock *time.Duration) {
	t.Helper()
	now := time.Hour
	b = newBudget(rate)
	b.now = func() time.Duration { return now }
	b.sleep = func(d time.Duration) {
		if d <= 0 || d > mostWait {
			t.Errorf("one call waits for %v", d)
		}
		now += d
	}
	b.begin()
	return b, &now
}

func TestABudgetLetsPassWhatItSaysOverTime(t *testing.T) {
	b, now := counted(t, 8000)
	began := *now
	for range 1000 {
		b.pass(800)
	}
	took, want := *now-began, time.Duration((800000.-atOnce)/8000*float64(time.Second))
	if off := took - want; off > time.Millisecond || off < -time.Millisecond {
		t.Errorf("800 kB at 8 kB/s took %v, want %v", took, want)
	}
	*now += time.Hour // saves no more than the beginning
	began = *now
	b.pass(atOnce)
	if *now != began {
		t.Error("what may pass at once waits after an hour of silence")
	}
	b.pass(8000)
	if took := *now - began; took != time.Second {
		t.Errorf("the bytes behind that wait for %v, want 1s", took)
	}
}

func TestALotDoesNotStarveWhatComesBehindIt(t *testing.T) {
	b, now := counted(t, 8000)
	began, waits := *now, 1
	b.pass(100 << 20)
	for ; *now-began < mostDebt; waits++ {
		b.pass(1) // each waits for mostWait at most, as counted checks
	}
	if waits > 31 {
		t.Errorf("a minute of debt is paid by %d waits", waits)
	}
	*now += time.Second
	began = *now
	b.pass(100)
	if *now != began {
		t.Errorf("after a minute 100 bytes wait for %v", *now-began)
	}
	b.pass(100 << 20)
	b.begin()
	began = *now
	b.pass(8 << 10)
	if *now != began {
		t.Error("the handshake of a new connection waits for what passed before it")
	}
}

func TestBothDirectionsOfALinkShareItsBudget(t *testing.T) {
	b, now := counted(t, 1000)
	m := meter{budget: b}
	near, far := net.Pipe()
	c := m.wrap(near)
	began := *now
	wrote := make(chan error, 1)
	go func() {
		defer far.Close()
		_, err := io.CopyN(io.Discard, far, 20000)
		if err == nil {
			_, err = far.Write(make([]byte, 10000))
		}
		wrote <- err
	}()
	for range 20 {
		if _, err := c.Write(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if text, err := io.ReadAll(c); err != nil || len(text) != 10000 {
		t.Fatal(len(text), err)
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	took, want := *now-began, time.Duration((30000.-atOnce)/1000*float64(time.Second))
	if off := took - want; off > time.Millisecond || off < -time.Millisecond {
		t.Errorf("30 kB at 1 kB/s took %v, want %v", took, want)
	}
}
