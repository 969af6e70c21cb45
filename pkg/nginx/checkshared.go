package nginx

import (
	"regexp"
	"slices"
	"strings"

	"fairlead/pkg/fleet"
)

// shared is what a host and a location both may have.
type shared struct {
	rewrites []fleet.Rewrite
	access   []fleet.AddressRule
	auth     *fleet.BasicAuth
	cors     *fleet.CORS
	gzip     *fleet.Gzip
	limits   *fleet.Limits
	pages    []fleet.ErrorPage
	policies []string
	log      *fleet.Log
}

func checkShared(path string, faults *fleet.Faults, s shared) {
	for i, r := range s.rewrites {
		at := fieldOf(path+".rewrites", i)
		checkRegex(at+".match", r.Match, faults)
		matches(faults, at+".to", r.To, rewriteTarget, "is no path")
		if r.Flag != "" && r.Flag != "last" && r.Flag != "break" {
			faults.Addf(at+".flag", "%q is neither last nor break", r.Flag)
		}
	}
	for i, a := range s.access {
		if (a.Allow == "") == (a.Deny == "") || !(a.Allow+a.Deny == "all" || network.MatchString(a.Allow+a.Deny)) {
			faults.Addf(fieldOf(path+".access", i), "needs a network behind either allow or deny")
		}
	}
	if a := s.auth; a != nil && !a.Off {
		if strings.ContainsAny(a.Realm, "\"\\\x00") || len(served(a.Realm)) > maxParameter || a.Realm == "off" {
			faults.Addf(path+".basicAuth.realm", "%q is no realm", a.Realm)
		}
		addErr(faults, path+".basicAuth.realm", headerValue(a.Realm))
		for i, u := range a.Users {
			if !authUser.MatchString(u.Name) || !fleet.PasswordHash(u.Hash) && !authPrint.MatchString(u.Fingerprint) {
				faults.Addf(fieldOf(path+".basicAuth.users", i), "has a bad name, or no hash of a password")
			}
		}
	}
	if c := s.cors; c != nil {
		checkCORS(path+".cors", c, faults)
	}
	if g := s.gzip; g != nil {
		each(faults, path+".gzip.types", g.Types, mediaType, "is no media type")
		maybe(faults, path+".gzip.minLength", g.MinLength, sizeText, "is no size")
		if g.Level < 0 || g.Level > 9 {
			faults.Addf(path+".gzip.level", "%d is not between 1 and 9", g.Level)
		}
	}
	if l := s.limits; l != nil {
		each(faults, path+".limits", given(l.MaxBodySize, l.BodyBuffer), sizeText, "is no size")
		each(faults, path+".limits", given(l.BodyTimeout, l.SendTimeout, l.HeaderTimeout, l.Keepalive), durationText, "is no duration")
		if b := l.HeaderBuffers; b != nil {
			matches(faults, path+".limits.headerBuffers.size", b.Size, sizeText, "is no size")
			if b.Number < 1 {
				faults.Addf(path+".limits.headerBuffers.number", "%d is less than 1", b.Number)
			}
		}
	}
	checkPages(path+".errorPages", s.pages, faults)
	each(faults, path+".policies", s.policies, resourceName, "is no name")
	if l := s.log; l != nil {
		for _, f := range l.Fields {
			if !slices.Contains(fleet.LogFields, f) {
				faults.Addf(path+".log.fields", "%q may not be logged", f)
			}
		}
		if l.Percent < 0 || l.Percent > 100 {
			faults.Addf(path+".log.percent", "%d is not between 0 and 100", l.Percent)
		}
	}
}

func checkCORS(path string, c *fleet.CORS, faults *fleet.Faults) {
	for i, o := range c.Origins {
		if o != "*" && !origin.MatchString(o) {
			faults.Addf(fieldOf(path+".origins", i), "%q is no origin", o)
		}
	}
	if c.Credentials && slices.Contains(c.Origins, "*") {
		faults.Addf(path+".credentials", "does not go with origin *")
	}
	each(faults, path, slices.Concat(c.Methods, c.Headers, c.ExposeHeaders), corsWord, "is no method or header")
	maybe(faults, path+".maxAge", c.MaxAge, durationText, "is no duration")
}

func checkPages(path string, pages []fleet.ErrorPage, faults *fleet.Faults) {
	for i, p := range pages {
		at := fieldOf(path, i)
		for _, code := range p.Codes {
			if code < 400 || code > 599 || code == 444 || code == 499 {
				faults.Addf(at+".codes", "%d has no page", code)
			}
		}
		if len(p.Codes) == 0 || (p.Path == "") == (p.Text == "") {
			faults.Addf(at, "needs codes, and either path or text")
		} else if p.Path != "" {
			addErr(faults, at+".path", plain(p.Path))
			if !strings.HasPrefix(p.Path, "/") || strings.Contains(p.Path, "?") {
				faults.Addf(at+".path", "%q is no path", p.Path)
			}
		} else {
			checkReturn(at, &fleet.Return{Code: 404, Text: p.Text, ContentType: p.ContentType}, faults)
		}
	}
}

// The grammars of what is written without quotes, or where nginx reads more
// into a word than its text.
var (
	network       = fleet.NewPattern(`^[0-9A-Fa-f:.]{2,45}(/[0-9]{1,3})?$`)
	tlsVersion    = regexp.MustCompile(`^TLSv1\.[23]$`)
	cipherName    = fleet.NewPattern(`^[!+-]?[A-Za-z0-9][A-Za-z0-9+_-]{0,63}$`)
	durationText  = regexp.MustCompile(`^[0-9]{1,9}(ms|s|m|h)$`)
	sizeText      = regexp.MustCompile(`^[0-9]{1,9}[km]?$`)
	proxyPath     = regexp.MustCompile(`^/[A-Za-z0-9._~,@:+=/-]*$`)
	rewriteTarget = regexp.MustCompile(`^/([A-Za-z0-9._~/,@:+=&%?-]|\$[1-9])*$`)
	condition     = regexp.MustCompile(`^(error|timeout|invalid_header|updating|non_idempotent|off|http_[45][0-9][0-9])$`)
	requestPart   = fleet.NewPattern(`^(header:[A-Za-z0-9][A-Za-z0-9-]{0,99}|cookie:[A-Za-z0-9_]{1,100})$`)
	authUser      = fleet.NewPattern(`^[A-Za-z0-9._@+-]{1,128}$`)
	authPrint     = fleet.NewPattern(`^[A-Za-z0-9_-]{64}$`)
	mediaType     = fleet.NewPattern(`^[a-z0-9!#&^_.+-]{1,64}/[a-z0-9!#&^_.+-]{1,64}$`)
	origin        = fleet.NewPattern(`^https?://[a-z0-9._:\[\]-]{1,290}$`)
	corsWord      = fleet.NewPattern(`^[A-Za-z0-9-]{1,100}$`)
)

// matches adds a fault where a value is not of a grammar.
func matches(faults *fleet.Faults, path, value string, grammar matcher, problem string) {
	if !grammar.MatchString(value) || len(value) > maxParameter {
		faults.Addf(path, "%q %s", value, problem)
	}
}

// maybe is matches for a value that may be left out.
func maybe(faults *fleet.Faults, path, value string, grammar matcher, problem string) {
	if value != "" {
		matches(faults, path, value, grammar, problem)
	}
}

// each is matches for every value of a list.
func each(faults *fleet.Faults, path string, values []string, grammar matcher, problem string) {
	for i, value := range values {
		matches(faults, fieldOf(path, i), value, grammar, problem)
	}
}

// given is those that are not left out.
func given(values ...string) []string {
	return slices.DeleteFunc(values, func(s string) bool { return s == "" })
}
