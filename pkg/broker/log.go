package broker

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"

	"github.com/nats-io/nats-server/v2/server"
)

// logger hands nats-server's log to slog. Its notices tell authors, not
// operators, and become debug; a fatal one, at which nats-server would end
// the process, is kept for Run to return.
type logger struct {
	to *slog.Logger

	mu    sync.Mutex
	fatal error
}

var _ server.Logger = (*logger)(nil)

func (l *logger) Noticef(format string, v ...any) { l.log(l.to.Debug, format, v) }
func (l *logger) Debugf(format string, v ...any)  { l.log(l.to.Debug, format, v) }
func (l *logger) Tracef(format string, v ...any)  {}
func (l *logger) Errorf(format string, v ...any)  { l.log(l.to.Error, format, v) }

func (l *logger) Fatalf(format string, v ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fatal == nil {
		l.fatal = errors.New(fmt.Sprintf(format, v...))
	}
}

// intended is what nats-server warns of at each start and is so by intent.
var intended = []string{
	"Clients that are not using \"TLS Handshake First\" option will fail to connect",
	"The option `default_js_domain` is a temporary backwards compatibility measure and will be removed",
	"Skipping Default Domain %q, set for JetStream enabled account %q",
}

func (l *logger) Warnf(format string, v ...any) {
	if slices.Contains(intended, format) {
		l.Noticef(format, v...)
		return
	}
	l.log(l.to.Warn, format, v)
}

// failure is the first fatal message, nil where there was none.
func (l *logger) failure() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.fatal
}

func (l *logger) log(write func(string, ...any), format string, v []any) {
	write("nats-server", "says", fmt.Sprintf(format, v...))
}
