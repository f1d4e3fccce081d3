package sensor

import (
	"errors"
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestParts(t *testing.T) {
	for name, want := range map[string]string{
		"ax": "a0", "aY": "a1", "accel_z": "a2", "accelX": "a0", "acc-x": "a0", "anglvel_y": "g1", "gz": "g2", "wx": "g0", "gyro.z": "g2", "magn_x": "m0",
		"": "", "x": "", "aWx": "", "temp": "", "a": "", "tz": "", "ä": "",
	} {
		got := ""
		if s, axis, ok := Parts(name); ok {
			got = s + string(rune('0'+axis))
		}
		if got != want {
			t.Errorf("%q is %q, want %q", name, got, want)
		}
	}
}

func TestAxes(t *testing.T) {
	for text, want := range map[string][3]float32{
		"x,y,z": {1, 2, 3}, "y,-x,z": {2, -1, 3}, "-X, -Y, Z": {-1, -2, 3}, "+y z +x": {2, 3, 1},
		"0,1,0;-1,0,0;0,0,1": {2, -1, 3}, "1 0 0 0 1 0 0 0.5 1": {1, 2, 4},
	} {
		a, err := ParseAxes(text)
		if got := a.Apply([3]float32{1, 2, 3}); err != nil || got != want {
			t.Errorf("%q: %v, want %v; %v", text, got, want, err)
		}
	}
	for text, want := range map[string]string{
		"":                    "want three axes",
		"x,y":                 "want three axes",
		"x,y,w":               `"w" is none of`,
		"x,y,--z":             `"--z" is none of`,
		"x,y,y":               "the same",
		"y,x,z":               "right-handed",
		"x,y,-z":              "right-handed",
		"1,0,0,0,1,0,0,0,u":   `"u" is no number`,
		"1,0,0,0,1,0,0,0,nan": `"nan" is no number`,
		"1,0,0,0,1,0,1,1,0":   "the same",
	} {
		if _, err := ParseAxes(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func channels(text string) (c []Channel) {
	for _, f := range strings.Fields(text) {
		name, unit, _ := strings.Cut(f, ":")
		c = append(c, Channel{Name: name, Unit: unit})
	}
	return c
}

func TestMap(t *testing.T) {
	const imu = "ax:m/s^2 ay:m/s^2 az:m/s^2 gx:rad/s gy:rad/s gz:rad/s"
	for _, c := range []struct {
		want, have, axes, rules string
		result                  []float32
	}{
		{"ax ay az", imu, "x,y,z", "", []float32{1, 2, 3}},
		{"gz:rad/s accel_x:m/s2", imu, "x,y,z", "", []float32{6, 1}},
		{"ax:g gx:dps", imu, "x,y,z", "", []float32{1 / Gravity, 4 * 180 / math.Pi}},
		{"ax:m/s^2", "ax:mg", "x,y,z", "", []float32{Gravity / 1000}},
		{"ax ay az gx gy gz", imu, "y,-x,z", "", []float32{2, -1, 3, 5, -4, 6}},
		{"ax:g ay:g", imu, "y,z,x", "", []float32{2 / Gravity, 3 / Gravity}},
		{"aWx:counts gWx:counts", imu, "x,y,z", "aWx=ax*10+512, gWx=-gz*1e1-3", []float32{522, -63}},
		{"aWx:counts", imu, "y,-x,z", "aWx=ax*-2", []float32{-4}},
		{"ay", imu, "x,y,z", "ay=-ay", []float32{-2}},
		{"p q", "q:counts p:counts", "x,y,z", "", []float32{2, 1}},
		{"ax:counts", "ax", "x,y,z", "", []float32{1}},
	} {
		axes, err := ParseAxes(c.axes)
		if err != nil {
			t.Fatal(err)
		}
		m, err := NewMap(channels(c.want), channels(c.have), axes, c.rules)
		if err != nil {
			t.Errorf("%v: %v", c, err)
			continue
		}
		got := make([]float32, len(c.result))
		values := []float32{1, 2, 3, 4, 5, 6}[:len(channels(c.have))]
		if err := m.Apply(got, values); err != nil || !reflect.DeepEqual(got, c.result) {
			t.Errorf("%v: %v, %v", c, got, err)
		}
		if n := testing.AllocsPerRun(10, func() { m.Apply(got, values) }); n != 0 {
			t.Errorf("%v: %v allocations", c, n)
		}
		if m.Apply(got, append(values, 1)) == nil || m.Apply(append(got, 1), values) == nil {
			t.Errorf("%v: a wrong length passed", c)
		}
	}
}

func TestMapErrors(t *testing.T) {
	const imu = "ax:m/s^2 ay:m/s^2 gx:rad/s gy:rad/s gz:rad/s"
	_, err := NewMap(channels("aWx:counts ax:counts gx:dps az"), channels(imu), Identity, "")
	var mismatch *MismatchError
	if !errors.As(err, &mismatch) || !reflect.DeepEqual(mismatch.Missing, []string{"aWx", "az"}) || !reflect.DeepEqual(mismatch.Unit, []string{"ax"}) {
		t.Fatalf("%v", err)
	}
	for _, want := range []string{"no aWx, az", "the unit of ax", "wants  aWx [counts] ax [counts] gx [dps] az\n", "gives ax [m/s^2] ay [m/s^2] gx [rad/s]"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%v\nlacks %q", err, want)
		}
	}
	turn, _ := ParseAxes("y,z,x")
	for _, c := range [][2]string{
		{"p", "want NAME=CHANNEL"}, {"p=ax", "the model has no channel"}, {"ax=ay,ax=ay", "given twice"}, {"ax=", "no channel"}, {"ax=ay*", "no number"},
		{"ax=ay*2+", "no number"}, {"ax=ay*nan", "no number"}, {"ax=accel_y", "has no ax"}, {"ax=ay", "cannot be turned: the sensor has no az"},
	} {
		if _, err := NewMap(channels("ax"), channels(imu), turn, c[0]); err == nil || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%q: %v, want %q", c[0], err, c[1])
		}
	}
}
