package hostler

import "time"

// Asset is a host, a device or an endpoint that jobs run on. Its name is unique in
// its project.
type Asset struct {
	ID         AssetID           `json:"id"`
	Project    string            `json:"project"`
	Name       string            `json:"name"`
	Address    string            `json:"address" doc:"host name or IP address"`
	Port       int               `json:"port,omitempty" doc:"the port of check_port and SSH; 0 means the action's default"`
	Kind       string            `json:"kind" doc:"host, device or endpoint"`
	Platform   string            `json:"platform,omitempty" doc:"such as linux, cisco_iosxe, huawei_vrp"`
	Labels     map[string]string `json:"labels,omitempty"`
	Vars       map[string]string `json:"vars,omitempty"`
	Credential string            `json:"credential,omitempty" doc:"name of the credential for its logins"`
	DeviceKey  string            `json:"device_key" doc:"identifies the device: assets with the same key share a lane; default: the address"`
	HostKey    string            `json:"host_key" doc:"accept-new or strict"`
	Jump       string            `json:"jump,omitempty" doc:"name of the asset to connect through"`
	// Unconfirmed: no admin set or confirmed the address, port and jump host as they are.
	Unconfirmed bool      `json:"unconfirmed,omitempty" doc:"no admin set or confirmed its address, port and jump host as they are"`
	CreatedAt   time.Time `json:"created_at"`
	UpdatedAt   time.Time `json:"updated_at"`
}

// MaxJumps is how many jump hosts may be between a worker and an asset.
const MaxJumps = 5

// Policies for an asset's SSH host key.
const (
	HostKeyAcceptNew = "accept-new" // pins the first key that the host offers
	HostKeyStrict    = "strict"     // accepts only a key that a person accepted beforehand
)

// AssetInput is an asset to create, or to put in place of an existing one.
type AssetInput struct {
	Name       string            `json:"name" minLength:"1" maxLength:"128"`
	Address    string            `json:"address" minLength:"1" maxLength:"253" doc:"host name or IP address"`
	Port       int               `json:"port,omitempty" minimum:"0" maximum:"65535"`
	Kind       string            `json:"kind,omitempty" enum:"host,device,endpoint" doc:"default: host"`
	Platform   string            `json:"platform,omitempty" maxLength:"64"`
	Labels     map[string]string `json:"labels,omitempty"`
	Vars       map[string]string `json:"vars,omitempty"`
	Credential string            `json:"credential,omitempty" maxLength:"128" doc:"name of a credential"`
	DeviceKey  string            `json:"device_key,omitempty" maxLength:"253" doc:"default: the address"`
	HostKey    string            `json:"host_key,omitempty" enum:"accept-new,strict" doc:"default: accept-new"`
	Jump       string            `json:"jump,omitempty" maxLength:"128" doc:"name or id of the asset to connect through"`
	// Unconfirmed is ignored: a client may send what it has read.
	Unconfirmed bool `json:"unconfirmed,omitempty" doc:"ignored"`

	// CredentialKept: the request did not name the credential, which is the one that the
	// asset has. An asset that moves then needs it to be named again.
	CredentialKept bool `json:"-"`
}

// Input returns the part of the asset that a caller may write, the base of a change:
// set a field of it and pass it to PutAsset.
func (a Asset) Input() AssetInput {
	return AssetInput{
		Name: a.Name, Address: a.Address, Port: a.Port, Kind: a.Kind, Platform: a.Platform,
		Labels: a.Labels, Vars: a.Vars, Credential: a.Credential,
		DeviceKey: a.DeviceKey, HostKey: a.HostKey, Jump: a.Jump,
	}
}
