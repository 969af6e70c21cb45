package announce

import (
	"context"
	"log/slog"
	"time"

	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
)

// renewEvery is how often Renewals looks: what is due has a third of its life
// left, months for most.
const renewEvery = 6 * time.Hour

// Renewals renews what is due of all tenants of a directory whose keys are
// there, now and then again until ctx ends, and tells who has it. What cannot be
// done is logged and tried again.
func Renewals(ctx context.Context, dir string, o identity.Options, to bus.Options, log *slog.Logger) {
	tick := time.NewTicker(renewEvery)
	defer tick.Stop()
	for {
		tenants, err := identity.Tenants(dir)
		if err != nil {
			log.Warn("the tenants cannot be read", "error", err)
		}
		for _, tenant := range tenants {
			o.Tenant = tenant
			if err := renew(ctx, dir, o, to, log); err != nil && ctx.Err() == nil {
				log.Warn("JWTs that are due cannot be renewed", "tenant", tenant, "error", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func renew(ctx context.Context, dir string, o identity.Options, to bus.Options, log *slog.Logger) error {
	au, err := identity.Load(dir, o)
	if err != nil {
		return err
	}
	renewed, err := au.RenewDue()
	if len(renewed) == 0 {
		if fleet.KindOf(err) == fleet.Refused || fleet.KindOf(err) == fleet.Unknown {
			log.Debug("keys that renew are kept elsewhere, or encrypted", "tenant", au.Tenant(), "error", err)
			return nil
		}
		return err
	}
	for _, u := range renewed {
		log.Info("renewed a JWT", "tenant", au.Tenant(), "user", u.Name, "until", u.Expires)
	}
	if to.Credentials, err = Writer(au); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	_, err = Trust(ctx, au, to, renewed...)
	return err
}
