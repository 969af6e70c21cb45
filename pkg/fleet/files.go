package fleet

import (
	"fmt"
	"regexp"
	"strings"
)

// checkFiles adds the faults of what goes with root and alias.
func (l *Location) checkFiles(faults *Faults, at string) {
	if len(l.Index) > 0 && l.Root == "" && l.Alias == "" {
		faults.Addf(at+".index", "goes with root and alias only")
	}
	atMost(faults, at+".index", len(l.Index), maxItems)
	for i, name := range l.Index {
		faults.add(item(at+".index", i), indexProblem(name))
	}
	if len(l.TryFiles) > 0 && l.Root == "" {
		faults.Addf(at+".tryFiles", "goes with root only")
	}
	if len(l.TryFiles) == 1 {
		faults.Addf(at+".tryFiles", "holds one: write what is tried, and then what is served in any case, as in [$uri, =404]")
	}
	atMost(faults, at+".tryFiles", len(l.TryFiles), maxItems)
	for i, try := range l.TryFiles {
		if last := i == len(l.TryFiles)-1; !TryFile(try, last) {
			faults.Addf(item(at+".tryFiles", i), "%q: use $uri, $uri/, $uri.html, a path such as /index.html, and as the last one a path or a status such as =404", clip(try))
		}
	}
}

var (
	tryFile  = regexp.MustCompile(`^(\$uri)?(/?[A-Za-z0-9._~@=,+-]+)*/?$`)
	lastFile = regexp.MustCompile(`^(=[45][0-9][0-9]|(/[A-Za-z0-9._~@=,+-]+)+)$`)
)

// TryFile says whether a text may stand among the files to try.
func TryFile(text string, last bool) bool {
	if last {
		return lastFile.MatchString(text) && len(text) <= maxPath && !hasDots(text)
	}
	path := strings.TrimPrefix(text, "$uri")
	return text != "" && tryFile.MatchString(text) && (text != path || strings.HasPrefix(text, "/")) &&
		len(text) <= maxPath && !hasDots(path) && !strings.Contains(path, "//")
}

// aliasProblem says why an alias can not stand for the path. Without a slash
// at the end of both, a request for /files../ would leave the directory.
func (l *Location) aliasProblem() string {
	switch problem := rootProblem(l.Alias); {
	case problem != "":
		return problem
	case l.Match != "" && l.Match != "prefix":
		return "goes with match prefix only"
	case !strings.HasSuffix(l.Alias, "/") || !strings.HasSuffix(l.Path, "/"):
		return fmt.Sprintf("%q and the path must both end in /, or requests beside the path could leave the directory", clip(l.Alias))
	}
	return ""
}

// Rewrite changes the path of a request.
type Rewrite struct {
	Match string `json:"match"` // regular expression over the decoded path, bound as that of a location
	// To is the new path, which may hold `$1` to `$9` for groups of match, and a query after `?`. The request's own
	// query is kept.
	To string `json:"to"`
	// Flag is last (default), which then looks for a location anew, or break, which stays.
	Flag string `json:"flag,omitempty"`
}

var rewriteTarget = regexp.MustCompile(`^/([A-Za-z0-9._~/,@:+=&%-]|\$[1-9])*(\?([A-Za-z0-9._~/,@:+=&%-]|\$[1-9])*)?$`)

func checkRewrites(faults *Faults, at string, rewrites []Rewrite) {
	atMost(faults, at, len(rewrites), maxItems)
	for i, r := range rewrites {
		path := item(at, i)
		faults.add(path+".match", regexProblem(r.Match))
		faults.add(path+".to", r.toProblem())
		oneOf(faults, path+".flag", r.Flag, "", "last", "break")
	}
}

func (r *Rewrite) toProblem() string {
	if !rewriteTarget.MatchString(r.To) || len(r.To) > maxPath || strings.HasPrefix(r.To, "//") {
		return fmt.Sprintf("%q is not a path: write one such as /new/$1, of letters, digits and ._~/,@:+=&%%-", clip(r.To))
	}
	if re, err := regexp.Compile(r.Match); err == nil {
		for n := re.NumSubexp() + 1; n <= 9; n++ {
			if strings.Contains(r.To, fmt.Sprintf("$%d", n)) {
				return fmt.Sprintf("%q holds $%d, but match has only %d groups", clip(r.To), n, n-1)
			}
		}
	}
	return ""
}
