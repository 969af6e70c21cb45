package agent

import (
	"log/slog"
	"net"
	"path/filepath"
	"time"

	"fairlead/handlers"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/message"
	"fairlead/pkg/nginx"
)

// Config is everything an agent needs to know. Fields without a comment about
// a default are required.
type Config struct {
	Name    string // the node's
	Version string // of the agent
	URL     string // of the broker
	TLS     bus.TLS
	Server  bus.InProcess // instead of URL
	// Dial opens connections to URL; nil for the system's, see bus.Options.
	Dial        func(network, address string) (net.Conn, error)
	Credentials bus.Credentials // the node's
	Renewal     Renewal         // keeps them when they are renewed; nil for those that are not
	Succession  Succession      // keeps what it becomes when it gets another name; nil for a node that keeps its own
	Trust       message.Message // the signed trust set to begin with: whose commands it takes
	State       string          // directory for journal and nginx versions

	Nginx    *nginx.Config     // nil for a node without nginx
	Registry handlers.Registry // handlers.All() when empty
	Programs []string          // absolute paths that shellcommand may run
	PushDirs []string          // absolute paths of directories that filepush may put files into
	Syslog   map[string]string // domain to address, see package syslog

	Link          string        // class of the link, one of fleet.Links; "wan"
	Budget        int64         // bytes a second that the link to URL may carry, both ways together; 0 is no bound
	Heartbeat     time.Duration // the longest time between heartbeats; as the link's class has it
	HealthEvery   time.Duration // 15 s; below 0 sends none
	RejoinAfter   time.Duration // 5 s: an interruption that is shorter is told with a later one
	SyncEvery     time.Duration // 5 min: the slow timer, with jitter
	ConvergeEvery time.Duration // 1 min: desired against running, when nothing else woke it; below 0 never
	Waiting       int           // 4096: commands that may wait before new ones are refused
	Grace         time.Duration // 10 s: what a running command may take to end when the agent stops
	Overrun       time.Duration // 1 min: what it may take after that, when it was told to end; a change of nginx is proven or taken back in it
	SpoolBytes    int64         // 64 MiB of log batches
	NoSync        bool          // the journal does not sync: for measurements only

	Logger *slog.Logger
	// Checkpoint is called at named points of a command's life, for tests that
	// kill the process there.
	Checkpoint func(point string)
}

// The points that Checkpoint is told, in order.
const (
	PointReceived  = "received"  // verified, nothing kept
	PointQueued    = "queued"    // waits in its lane
	PointStarted   = "started"   // its start is in the journal, where it is kept
	PointPart      = "part"      // a part of a file or of its desired state was fetched and kept
	PointPlacing   = "placing"   // a file lies whole beside its place
	PointDone      = "done"      // the handler returned, nothing kept of it
	PointFinished  = "finished"  // outcome and answer are in the journal
	PointPublished = "published" // the broker has the answer, the outbox still too
	PointSettled   = "settled"   // the outbox is empty
)

func (c Config) withDefaults() Config {
	set(&c.Link, fleet.DefaultLink)
	if class, err := fleet.FindLink(c.Link); err == nil {
		set(&c.Heartbeat, class.Heartbeat)
	}
	set(&c.HealthEvery, 15*time.Second)
	set(&c.RejoinAfter, 5*time.Second)
	set(&c.SyncEvery, 5*time.Minute)
	set(&c.ConvergeEvery, time.Minute)
	set(&c.Waiting, 4096)
	set(&c.Grace, 10*time.Second)
	set(&c.Overrun, time.Minute)
	if c.Registry.Methods() == nil || len(c.Registry.Methods()) == 0 {
		c.Registry = handlers.All()
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Checkpoint == nil {
		c.Checkpoint = func(string) {}
	}
	return c
}

func set[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Bounds of the time between heartbeats. Less than a second is noise; with more than
// five minutes people would take a node for gone that is there.
const (
	leastHeartbeat = time.Second
	mostHeartbeat  = 5 * time.Minute
)

// Validate returns all faults at once.
func (c Config) Validate() error {
	var faults fleet.Faults
	if err := fleet.CheckNode(c.Name); err != nil {
		faults.Addf("name", "%v", err)
	}
	if c.URL == "" && c.Server == nil {
		faults.Addf("url", "is empty: give the broker's address, such as tls://broker.example.org:4222")
	}
	if c.Credentials == nil {
		faults.Addf("credentials", "are missing")
	} else if c.Credentials.UserName() != c.Name {
		faults.Addf("credentials", "are for %q and the node is %q", c.Credentials.UserName(), c.Name)
	}
	if c.Trust.Signature == "" {
		faults.Addf("trust", "is missing: without trusted keys every command would be refused")
	} else if _, err := message.OpenTrust(c.Trust); err != nil {
		faults.Addf("trust", "%v", err)
	}
	if c.State == "" {
		faults.Addf("state", "is empty: give a directory")
	}
	if _, err := fleet.FindLink(c.Link); err != nil {
		faults.Addf("link", "%v", err)
	} else if c.Heartbeat < leastHeartbeat || c.Heartbeat > mostHeartbeat {
		faults.Addf("heartbeat", "%v: use %v to %v", c.Heartbeat, leastHeartbeat, mostHeartbeat)
	}
	if c.Budget != 0 && c.Budget < leastBudget {
		faults.Addf("budget", "%gkbit/s is not enough for heartbeats and answers: use 8kbit/s or more", float64(c.Budget)*8/1000)
	}
	for _, p := range c.Programs {
		if !filepath.IsAbs(p) {
			faults.Addf("programs", "%q is not an absolute path", p)
		}
	}
	for _, d := range c.PushDirs {
		if !filepath.IsAbs(d) || d != filepath.Clean(d) || d == "/" {
			faults.Addf("pushDirs", "%q: give the absolute path of a directory, and not /", d)
		}
	}
	return faults.Err()
}
