package mot_test

import (
	"fmt"
	"log"
	"math"

	"github.com/recur-go/recur/models/mot"
)

// Two people walk towards each other, and one is hidden for ten frames where they meet.
func Example() {
	tracker, err := mot.NewDefault(1280, 720)
	if err != nil {
		log.Fatal(err)
	}
	for frame := range 60 {
		x := 8 * float64(frame)
		found := []mot.Detection{{Box: mot.Corner(200+x, 300, 60, 150), Score: 0.99}}
		if frame < 25 || frame >= 35 {
			found = append(found, mot.Detection{Box: mot.Corner(700-x, 290, 58, 145), Score: 0.98})
		}
		tracks, err := tracker.Update(found)
		if err != nil {
			log.Fatal(err)
		}
		if frame%20 == 19 {
			for _, t := range tracks {
				fmt.Printf("frame %d: %d at %.0f\n", frame+1, t.ID, math.Round(t.X/20)*20)
			}
		}
	}
	// Output:
	// frame 20: 1 at 380
	// frame 20: 2 at 580
	// frame 40: 1 at 540
	// frame 40: 2 at 420
	// frame 60: 1 at 700
	// frame 60: 2 at 260
}
