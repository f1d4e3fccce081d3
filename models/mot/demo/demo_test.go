package demo

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"testing"
)

// TestGolden pins the scene, on every platform.
func TestGolden(t *testing.T) {
	const want = "11f5a9232765c959c65e43008928bcc948d644be7717fb23c9a70e2dd77fe3d2"
	var b bytes.Buffer
	if err := WriteDetections(&b, Seed); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b.Bytes())
	if got := hex.EncodeToString(sum[:]); got != want {
		t.Errorf("the scene has the hash\n%s, want\n%s", got, want)
	}
}

// TestScene shows that the scene holds what it is for: crowds, and people who go unseen for long and come back.
func TestScene(t *testing.T) {
	s := New(Seed)
	frames, boxes, detections, most := 0, 0, 0, 0
	unseen, recovered := map[int]int{}, 0
	for {
		truth, found, ok := s.Next()
		if !ok {
			break
		}
		frames++
		boxes += len(truth)
		detections += len(found)
		most = max(most, len(truth))
		for i := range truth {
			id := truth[i].ID
			if s.visible(i) >= 0.6 {
				if unseen[id] >= 5 {
					recovered++
				}
				unseen[id] = 0
			} else {
				unseen[id]++
			}
		}
	}
	if frames != Frames || most < 8 || recovered < 20 || float64(detections) < 0.7*float64(boxes) || float64(detections) > 1.2*float64(boxes) {
		t.Errorf("%d frames, up to %d people, %d boxes, %d detections, %d times back after 5 frames hidden", frames, most, boxes, detections, recovered)
	}
}
