package hostler

import "time"

// Project isolates data and resources. Names are unique; [DefaultProject] always
// exists.
type Project struct {
	ID        ProjectID `json:"id"`
	Name      string    `json:"name"`
	CreatedAt time.Time `json:"created_at"`
}

// ProjectInput is a project to create.
type ProjectInput struct {
	Name string `json:"name" minLength:"1" maxLength:"64"`
}
