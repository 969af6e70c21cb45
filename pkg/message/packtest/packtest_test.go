package packtest_test

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"

	"fairlead/pkg/message/packtest"
)

func TestWhatIsPackedInAFileIsFound(t *testing.T) {
	e, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	frame := func(word string) string {
		var text strings.Builder
		for i := range 500 {
			fmt.Fprintf(&text, "host %x, ", i*i*i)
		}
		return string(e.EncodeAll([]byte(text.String()+word+text.String()), nil))
	}
	data := "before" + frame("first") + "between" + frame("second") + `{"body":"` + base64.StdEncoding.EncodeToString([]byte(frame("third"))) + `"}`
	whole := packtest.Whole([]byte(data + "\x28\xb5\x2f\xfd"))
	for _, word := range []string{"first", "second", "third"} {
		if strings.Contains(data, word) || !bytes.Contains(whole, []byte(word)) {
			t.Errorf("%s is not found", word)
		}
	}
	if !bytes.HasPrefix(whole, []byte(data)) {
		t.Error("what is not packed is lost")
	}
}
