package store

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"hostler.dev/hostler"
)

func TestBlockRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) hostler.LogLine {
			return hostler.LogLine{
				At:     time.UnixMicro(rapid.Int64Range(1, 1<<52).Draw(t, "at")).UTC(),
				Stream: rapid.SampledFrom(blockStreams[:]).Draw(t, "stream"),
				Text:   strings.Repeat(rapid.String().Draw(t, "text"), rapid.IntRange(1, 50).Draw(t, "times")),
			}
		}), 1, 40).Draw(t, "lines")
		got, err := DecodeBlock(EncodeBlock(want))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Fatal("lines changed (-want +got):\n", d)
		}
	})
}

func TestBlockOfNothingIsNothing(t *testing.T) {
	if b := EncodeBlock(nil); len(b) != 0 {
		t.Errorf("EncodeBlock(nil) = %x, want nothing", b)
	}
	if lines, err := DecodeBlock(nil); err != nil || lines != nil {
		t.Errorf("DecodeBlock(nil) = %v, %v", lines, err)
	}
}

func TestBlockIsPackedWhenItPays(t *testing.T) {
	text := strings.Repeat("uptime 12 days, load average 0.01\n", 1000)
	packed := EncodeBlock([]hostler.LogLine{{Stream: hostler.StreamStdout, Text: text}})
	if packed[0] != blockZstd || len(packed) > len(text)/10 {
		t.Errorf("%d bytes of repeated text: version %d, %d bytes", len(text), packed[0], len(packed))
	}
	noise := make([]byte, 1000)
	r := rand.NewChaCha8([32]byte{1})
	r.Read(noise)
	plain := EncodeBlock([]hostler.LogLine{{Stream: hostler.StreamStdout, Text: string(noise)}})
	if plain[0] != blockPlain {
		t.Errorf("noise was packed: version %d, %d bytes", plain[0], len(plain))
	}
}

// FuzzDecodeBlock decodes arbitrary input. Blocks that decode must survive a round trip.
func FuzzDecodeBlock(f *testing.F) {
	f.Add([]byte{})
	f.Add([]byte{blockPlain, 1, 2, 0, 1, 'x'})
	f.Add([]byte{blockPlain, 255, 255, 255, 255, 15})
	f.Add([]byte{blockZstd, 0x28, 0xb5, 0x2f, 0xfd})
	f.Add([]byte{9})
	f.Add(EncodeBlock([]hostler.LogLine{
		{At: time.Unix(1, 0), Stream: hostler.StreamStderr, Text: strings.Repeat("no\n", 500)},
	}))
	f.Fuzz(func(t *testing.T, block []byte) {
		lines, err := DecodeBlock(block)
		if err != nil {
			return
		}
		if len(lines) > maxBlockLines {
			t.Fatalf("%d lines in one block", len(lines))
		}
		again, err := DecodeBlock(EncodeBlock(lines))
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(lines, again); d != "" {
			t.Fatal(d)
		}
	})
}

func TestDecodeBlockRefusesDamage(t *testing.T) {
	whole := EncodeBlock([]hostler.LogLine{
		{At: time.Unix(5, 0), Stream: hostler.StreamStdout, Text: "one"},
		{At: time.Unix(6, 0), Stream: hostler.StreamStderr, Text: "two"},
	})
	for n := 1; n < len(whole); n++ {
		if lines, err := DecodeBlock(whole[:n]); err == nil {
			t.Errorf("the first %d of %d bytes decode to %v", n, len(whole), lines)
		}
	}
	if _, err := DecodeBlock(append(bytes.Clone(whole), 0)); err == nil {
		t.Error("trailing bytes are not refused")
	}
}

func TestPositionsGrow(t *testing.T) {
	var got []int64
	for _, fence := range []int64{0, 1, 2, 1<<posFenceBits - 1} {
		for _, seq := range []int64{1, 2, inlineSeq} {
			for _, line := range []int{0, 1, maxBlockLines - 1} {
				pos := position(fence, seq, line)
				if f, s, l := splitPosition(pos); f != fence || s != seq || l != line {
					t.Errorf("splitPosition(%d) = %d, %d, %d; want %d, %d, %d", pos, f, s, l, fence, seq, line)
				}
				got = append(got, pos)
			}
		}
	}
	if got[0] <= 0 || got[len(got)-1] >= 1<<53 || !slices.IsSorted(got) ||
		len(slices.Compact(slices.Clone(got))) != len(got) {
		t.Errorf("positions do not grow within (0, 2^53): %v", got)
	}
}
