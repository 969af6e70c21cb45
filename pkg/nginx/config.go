package nginx

import (
	"log/slog"
	"path/filepath"
	"regexp"
	"runtime"
	"time"

	"fairlead/pkg/fleet"
)

// How nginx is kept running.
const (
	Child    = "child"    // the engine starts it, and starts it again when it dies
	Systemd  = "systemd"  // systemd does, asked by the engine when it has died
	External = "external" // a container runtime or somebody else does; the engine reloads it
)

// Config says where one nginx lives. The zero value is complete, for a host
// with one nginx and an agent that is root.
type Config struct {
	Binary string // nginx; looked up in PATH when it has no slash; "nginx" when empty
	State  string // versions, temporary files of workers; /var/lib/fairlead/nginx
	Conf   string // holds nginx.conf, a link; /etc/fairlead/nginx
	Run    string // sockets, pid file; /run/fairlead/nginx
	Logs   string // error logs; /var/log/fairlead/nginx
	Manage string // Child (default), Systemd or External
	// Unit is nginx's unit with Systemd, nginx.service when empty; Systemctl is
	// the program that is asked, systemctl when empty.
	Unit, Systemctl string
	// LookEvery is the time between two looks at a living nginx; 2 s when 0.
	LookEvery time.Duration
	// Patience is how long a master may take no signal and do no work before it
	// counts as wedged; 30 s when 0, which is longer than any wait for DNS.
	Patience time.Duration
	// LogBytes is how large a log file that nginx writes below Logs may grow
	// before it is rotated, 64 MiB when 0; LogKeep how many older ones are kept
	// of each, 3 when 0.
	LogBytes int64
	LogKeep  int
	// PidFile is written by nginx; Run/nginx.pid when empty. With External it is
	// the one that the service manager expects.
	PidFile string
	// HostConf is the host's own nginx.conf, which includes Conf/fairlead.conf in
	// its http{}; empty where nginx.conf is the engine's. Not with Child.
	HostConf string
	// User is who workers run as when the engine is root: www-data where there
	// is one, else nobody. Without root they run as the engine's own user.
	User         string
	Workers      int // worker processes; 0 is one for each processor that this process may use
	KeepVersions int // versions kept beside the last good one; 5 when 0
	// Sweep is the time between two full looks for what was changed by hand,
	// with jitter; 45 s when 0. What the kernel tells of is looked at at once.
	Sweep  time.Duration
	Logger *slog.Logger
	// Clock is the broker's time, by which a pause ends; zero while it is not known.
	Clock func() time.Time `json:"-"`
	// Event is told what happens to nginx between two applies, and what became
	// of an apply after it had answered; see the Event constants. It is called
	// for one event at a time, in order, by a goroutine that holds no lock.
	Event func(event, text string) `json:"-"`
	// Open opens what was sealed to this node; nil where nothing was. Its errors
	// tell nothing of the secret.
	Open func(sealed string) ([]byte, error) `json:"-"`
}

// nginx's syslog parameters end at a comma, its includes take *, ? and [ for a
// pattern, and a path that needs no quoting is quoted rightly everywhere.
var safePath = regexp.MustCompile(`^/[A-Za-z0-9/._@+~:=-]*$`)

// maxSocketPath is how long the path of a unix socket may be (sun_path).
const maxSocketPath = 107

// Validate finds everything that is wrong at once; the error is fleet.Faults.
func (c Config) Validate() error {
	c = c.complete()
	var faults fleet.Faults
	for _, dir := range []struct{ name, path string }{
		{"state", c.State}, {"conf", c.Conf}, {"run", c.Run}, {"logs", c.Logs}, {"pidFile", c.PidFile},
	} {
		if !safePath.MatchString(dir.path) {
			faults.Addf(dir.name, "%q is not an absolute path of letters, digits and /._@+~:=-", dir.path)
		}
	}
	if n := len(filepath.Join(c.Run, "control.sock")); n > maxSocketPath {
		faults.Addf("run", "%q is too long: a socket in it would have %d bytes, more than %d", c.Run, n, maxSocketPath)
	}
	if c.Manage != Child && c.Manage != Systemd && c.Manage != External {
		faults.Addf("manage", "%q is none of %s, %s and %s", c.Manage, Child, Systemd, External)
	}
	if !unitName.MatchString(c.Unit) {
		faults.Addf("unit", "%q is no name of a systemd unit", c.Unit)
	}
	if c.including() && (c.Manage == Child || !safePath.MatchString(c.HostConf)) {
		faults.Addf("hostConf", "%q: give an absolute path, and who starts the host's nginx: it is not the agent", c.HostConf)
	}
	if c.User != "" && !userName.MatchString(c.User) {
		faults.Addf("user", "%q is no user name", c.User)
	}
	if c.Workers < 0 || c.Workers > 1024 {
		faults.Addf("workers", "%d is not between 0 and 1024", c.Workers)
	}
	if c.LogBytes < 0 || c.LogKeep < 0 {
		faults.Addf("logBytes", "it and logKeep may not be negative")
	}
	if c.LookEvery < 0 || c.Patience < 0 {
		faults.Addf("lookEvery", "it and patience may not be negative")
	}
	if c.Sweep < 0 {
		faults.Addf("sweep", "%v is negative", c.Sweep)
	}
	if c.KeepVersions < 0 {
		faults.Addf("keepVersions", "%d is negative", c.KeepVersions)
	}
	return faults.Err()
}

// unitName is one that systemctl takes for no option and for no pattern.
var unitName = fleet.NewPattern(`^[A-Za-z0-9_][A-Za-z0-9_.@:-]{0,254}$`)

var userName = fleet.NewPattern(`^[A-Za-z0-9_][A-Za-z0-9_.-]{0,31}$`)

// complete fills in the defaults.
func (c Config) complete() Config {
	defaults := []struct {
		field *string
		value string
	}{
		{&c.Binary, "nginx"}, {&c.Manage, Child}, {&c.Unit, "nginx.service"}, {&c.Systemctl, "systemctl"},
		{&c.State, "/var/lib/fairlead/nginx"}, {&c.Conf, "/etc/fairlead/nginx"},
		{&c.Run, "/run/fairlead/nginx"}, {&c.Logs, "/var/log/fairlead/nginx"},
	}
	for _, d := range defaults {
		if *d.field == "" {
			*d.field = d.value
		}
	}
	for _, dir := range []*string{&c.State, &c.Conf, &c.Run, &c.Logs} {
		*dir = filepath.Clean(*dir)
	}
	if c.PidFile == "" {
		c.PidFile = filepath.Join(c.Run, "nginx.pid")
	}
	if c.Workers == 0 {
		c.Workers = runtime.NumCPU()
	}
	if c.LogBytes == 0 {
		c.LogBytes = 64 << 20
	}
	if c.LogKeep == 0 {
		c.LogKeep = 3
	}
	if c.LookEvery == 0 {
		c.LookEvery = 2 * time.Second
	}
	if c.Patience == 0 {
		c.Patience = 30 * time.Second
	}
	if c.KeepVersions == 0 {
		c.KeepVersions = 5
	}
	if c.Event == nil {
		c.Event = func(string, string) {}
	}
	if c.Sweep == 0 {
		c.Sweep = 45 * time.Second
	}
	if c.Clock == nil {
		c.Clock = func() time.Time { return time.Time{} }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// The files that the engine and nginx meet at.

func (c Config) link() string {
	if c.including() {
		return filepath.Join(c.Conf, includeLink)
	}
	return filepath.Join(c.Conf, "nginx.conf")
}
func (c Config) statusSocket() string  { return filepath.Join(c.Run, "status.sock") }
func (c Config) controlSocket() string { return filepath.Join(c.Run, "control.sock") }
func (c Config) tempDir() string       { return filepath.Join(c.State, "temp") }
func (c Config) errorLog() string      { return filepath.Join(c.Logs, "error.log") }
func (c Config) probeFile() string     { return filepath.Join(c.State, "probe.key") }
func (c Config) quarantine() string    { return filepath.Join(c.State, "quarantine.json") }
func (c Config) bakeFile() string      { return filepath.Join(c.State, "bake.json") }
func (c Config) answersSocket() string { return filepath.Join(c.Run, "answers.sock") }
func (c Config) startLog() string      { return filepath.Join(c.Logs, "start.log") }
func (c Config) masterFile() string    { return filepath.Join(c.State, "master.json") }
func (c Config) recoveryFile() string  { return filepath.Join(c.State, "recovery.json") }

// SyslogSocket is where nginx sends its access and error log: the agent's log
// forwarder listens there. nginx does not mind when nobody does.
func (c Config) SyslogSocket() string { return filepath.Join(c.complete().Run, "syslog.sock") }
