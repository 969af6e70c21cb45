package adopt

import (
	"maps"
	"slices"
	"strings"

	crossplane "github.com/nginxinc/nginx-go-crossplane"

	"fairlead/pkg/nginx"
)

// readTypes enters a types block, extension by extension, as nginx does.
func readTypes(into map[string]string, block crossplane.Directives) {
	for _, d := range block {
		for _, extension := range d.Args {
			into[strings.ToLower(extension)] = d.Directive
		}
	}
}

// builtin is what nginx takes where there is no types block at all.
var builtin = map[string]string{"html": "text/html", "gif": "image/gif", "jpg": "image/jpeg"}

// sameTypes reports whether every extension has the type that Fairlead's own
// table gives it. Extensions that Fairlead's table has in addition do no harm
// where the configuration has a table of its own.
func sameTypes(types map[string]string) bool {
	if len(types) == 0 {
		return false
	}
	own := nginx.Types()
	for extension, kind := range types {
		if own[extension] != kind {
			return false
		}
	}
	return true
}

func typesBlock(types map[string]string) *crossplane.Directive {
	if len(types) == 0 {
		types = builtin
	}
	extensions := map[string][]string{}
	for extension, kind := range types {
		extensions[kind] = append(extensions[kind], extension)
	}
	block := &crossplane.Directive{Directive: "types", Args: []string{}, Block: crossplane.Directives{}}
	for _, kind := range slices.Sorted(maps.Keys(extensions)) {
		block.Block = append(block.Block, &crossplane.Directive{Directive: kind, Args: slices.Sorted(slices.Values(extensions[kind]))})
	}
	return block
}
