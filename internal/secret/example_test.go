package secret_test

import (
	"bytes"
	"fmt"
	"io"
	"os"

	"hostler.dev/hostler/internal/secret"
)

// A sealed value opens only with the same key and the same associated data, so that it
// cannot be moved to another row.
func ExampleBox() {
	box, err := secret.NewBox(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		fmt.Println(err)
		return
	}
	sealed, _ := box.Seal([]byte("p4ssw0rd"), secret.CredentialOwner(1, 42))
	plain, _ := box.Open(sealed, secret.CredentialOwner(1, 42))
	fmt.Printf("%s\n", plain)
	_, err = box.Open(sealed, secret.CredentialOwner(1, 43))
	fmt.Println(err)
	// Output:
	// p4ssw0rd
	// a stored secret is damaged or was moved; enter it again
}

// A secret is removed in the forms in which it tends to appear, also when it is split over
// two writes.
func ExampleRedactor() {
	r := secret.NewRedactor("s3cr3t!")
	w := r.Writer(os.Stdout)
	_, _ = io.WriteString(w, "login with s3c")
	_, _ = io.WriteString(w, "r3t! at /?token=s3cr3t%21\n")
	_ = w.Close()
	// Output:
	// login with ****** at /?token=******
}
