// Package packtest shows what lies packed in files, for tests that look for what
// must be nowhere.
package packtest

import (
	"bytes"
	"encoding/base64"
	"io"
	"regexp"

	"github.com/klauspost/compress/zstd"
)

// magic begins each frame of zstd.
var magic = []byte{0x28, 0xb5, 0x2f, 0xfd}

// inText is a frame in base64, as JSON holds it.
var inText = regexp.MustCompile(`KLUv/[A-Za-z0-9+/]+`)

// Whole is data with all behind it that is packed in it, by itself or in base64.
func Whole(data []byte) []byte {
	all := bytes.Clone(data)
	for _, text := range inText.FindAll(data, -1) {
		frame, _ := base64.RawStdEncoding.DecodeString(string(text))
		all = append(all, unpacked(frame)...)
	}
	for rest := data; ; {
		at := bytes.Index(rest, magic)
		if at < 0 {
			return all
		}
		all = append(all, unpacked(rest[at:])...)
		rest = rest[at+len(magic):]
	}
}

// unpacked is what a frame holds that data begins with, as far as it can be read.
func unpacked(data []byte) []byte {
	var h zstd.Header
	if h.Decode(data) != nil || !h.HasFCS || h.FrameContentSize > 64<<20 {
		return nil
	}
	d, err := zstd.NewReader(bytes.NewReader(data), zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil
	}
	defer d.Close()
	body := make([]byte, h.FrameContentSize)
	n, _ := io.ReadFull(d, body)
	return append([]byte("\n"), body[:n]...)
}
