package bus_test

import (
	"strconv"
	"strings"
	"testing"

	"fairlead/pkg/announce"
	"fairlead/pkg/bus"
	"fairlead/pkg/fleet"
	"fairlead/pkg/identity"
	"fairlead/subjects"
)

func TestAQuotaThatIsUsedUpSaysSo(t *testing.T) {
	s := open(t)
	station := s.station()
	settings := subjects.Settings{LogsBytes: 1 << 20}
	if err := station.EnsureStorage(t.Context(), settings); err != nil {
		t.Fatal(err)
	}
	if use, err := station.Usage(t.Context()); err != nil || use.MaxStorage != 0 || use.Streams == 0 || use.Reserved < 1<<20 {
		t.Errorf("without a quota: %+v, %v", use, err)
	}
	const most = 64 << 20
	if err := s.authority.SetQuota(identity.Quota{Storage: most}); err != nil {
		t.Fatal(err)
	}
	if _, err := announce.Accounts(t.Context(), s.authority, bus.Options{URL: s.url, TLS: s.tls()}, s.authority.AccountJWTs()[s.authority.TenantAccount()]); err != nil {
		t.Fatal(err)
	}
	if use, err := station.Usage(t.Context()); err != nil || use.MaxStorage != most {
		t.Errorf("with one: %+v, %v", use, err)
	}
	says := func(what string, err error) {
		t.Helper()
		if fleet.KindOf(err) != fleet.Busy || !strings.Contains(err.Error(), "the tenant's quota of storage is used up") {
			t.Errorf("%s: %v (%s)", what, err, fleet.KindOf(err))
		}
	}
	if err := station.EnsureStorage(t.Context(), subjects.Settings{LogsBytes: 2 * most}); err != nil { // keeps what it has
		t.Errorf("a reservation beyond it: %v", err)
	}
	admin := s.admin()
	body := string(noise(500 << 10))
	var err error
	for n := 0; err == nil && n < 2*most/len(body); n++ {
		name := "shop" + strconv.Itoa(n%4) // a bucket keeps 64 revisions of a key
		_, err = admin.Put(t.Context(), subjects.Fleet, bus.Change{Key: key(name), Document: s.document(name, body), Expect: bus.Any})
	}
	says("a write beyond it", err)
}
