module github.com/recur-go/recur

go 1.26

require (
	golang.org/x/sys v0.41.0 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)
