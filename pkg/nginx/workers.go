package nginx

import (
	"strings"
	"time"

	"fairlead/pkg/host"
)

// worker is a worker process of nginx.
type worker struct {
	host.Identity
	draining bool // serves its open connections to their end and takes no new ones
}

// workersOf lists the workers of a master. Its other children (the cache
// manager, and processes just forked that have not said yet what they are) are
// left out.
func workersOf(master int) ([]worker, error) {
	pids, err := host.Children(master)
	if err != nil {
		return nil, err
	}
	var all []worker
	for _, pid := range pids {
		title, err := host.Title(pid)
		if err != nil || !strings.HasPrefix(title, "nginx: worker process") {
			continue
		}
		id, err := host.Identify(pid)
		if err != nil {
			continue // it has just ended
		}
		all = append(all, worker{Identity: id, draining: strings.Contains(title, "shutting down")})
	}
	return all, nil
}

// settled says whether exactly want workers take connections, or any where want
// is 0, and none of them is among old.
func settled(all, old []worker, want int) bool {
	active := 0
	for _, w := range all {
		if w.draining {
			continue
		}
		active++
		for _, o := range old {
			if o.PID == w.PID && o.Started == w.Started {
				return false
			}
		}
	}
	return active == want || want == 0 && active > 0
}

// newerThan says whether there are workers and all that take connections
// started after a moment.
func newerThan(all []worker, since time.Duration) bool {
	active := 0
	for _, w := range all {
		if w.draining {
			continue
		}
		if w.Started <= since {
			return false
		}
		active++
	}
	return active > 0
}
