// Serves tusd's handler with its disk store and its locker in memory, which is what it is fastest with.
//
//	tusd PORT DIRECTORY
package main

import (
	"io"
	"log/slog"
	"net/http"
	"os"

	"github.com/tus/tusd/v2/pkg/filestore"
	"github.com/tus/tusd/v2/pkg/handler"
	"github.com/tus/tusd/v2/pkg/memorylocker"
)

func main() {
	if len(os.Args) != 3 {
		fail("usage: tusd PORT DIRECTORY")
	}
	composer := handler.NewStoreComposer()
	filestore.New(os.Args[2]).UseIn(composer)
	memorylocker.New().UseIn(composer)
	uploads, err := handler.NewHandler(handler.Config{
		BasePath:      "/files/",
		StoreComposer: composer,
		// Nobody's request log is measured.
		Logger: slog.New(slog.NewTextHandler(io.Discard, &slog.HandlerOptions{Level: slog.LevelError + 1})),
	})
	if err != nil {
		fail(err.Error())
	}
	routes := http.NewServeMux()
	routes.Handle("/files/", http.StripPrefix("/files/", uploads))
	routes.Handle("/files", http.StripPrefix("/files", uploads))
	fail(http.ListenAndServe("127.0.0.1:"+os.Args[1], routes).Error())
}

func fail(why string) {
	os.Stderr.WriteString(why + "\n")
	os.Exit(1)
}
