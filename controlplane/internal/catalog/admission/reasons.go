// SPDX-License-Identifier: Apache-2.0

package admission

// Reasons of the refusals of this package; those of G-11 and G-18 are in package access.
const (
	// ReasonLastAdmin (Precondition): nobody with the role ADMIN would be left.
	ReasonLastAdmin = "LAST_ADMIN"
	// ReasonUnknownReference (Invalid): a resource names another one that does not exist.
	ReasonUnknownReference = "UNKNOWN_REFERENCE"
	// ReasonUnknownTool (Invalid): a gateway names a tool that has not been discovered.
	ReasonUnknownTool = "UNKNOWN_TOOL"
	// ReasonToolRemoved (Invalid): a gateway newly names a tool that its server no longer has.
	ReasonToolRemoved = "TOOL_REMOVED"
	// ReasonUnknownArgument (Invalid): an assignment fixes an argument that its tool does not have.
	ReasonUnknownArgument = "UNKNOWN_ARGUMENT"
	// ReasonArgumentMisfit (Invalid): a fixed argument does not fit the tool's input schema.
	ReasonArgumentMisfit = "ARGUMENT_DOES_NOT_FIT"
	// ReasonPinOtherServer (Invalid): the pinned connection is of another server than the tool.
	ReasonPinOtherServer = "PIN_CONNECTION_OF_OTHER_SERVER"
	// ReasonNameClash (Invalid): two tools of a gateway would have one name (G-14).
	ReasonNameClash = "TOOL_NAME_CLASH"
	// ReasonIssuerTaken (Invalid): two identity providers would have one issuer.
	ReasonIssuerTaken = "ISSUER_TAKEN"
	// ReasonIdentityTaken (Invalid): an account at an identity provider would be of two users (AZ-24).
	ReasonIdentityTaken = "IDENTITY_TAKEN"
	// ReasonNodeLacksCapability (Precondition): a live node could not enforce what is asked for (D-37).
	ReasonNodeLacksCapability = "NODE_LACKS_CAPABILITY"
	// ReasonPinPruned (Invalid): Apply would delete a connection that a listed gateway pins.
	ReasonPinPruned = "PIN_CONNECTION_PRUNED"
	// ReasonPromptClash (Invalid): prompts of two servers would have one name on a gateway that puts none in front (M-62).
	ReasonPromptClash = "PROMPT_NAME_CLASH"
	// ReasonHeaderOfCredential (Invalid): a gateway would pass a header of clients through that one of its connections
	// authenticates with (G-41).
	ReasonHeaderOfCredential = "HEADER_OF_CREDENTIAL"
	// ReasonNameReserved (Invalid): a tool would have the name of a tool of the gateway itself (G-26).
	ReasonNameReserved = "TOOL_NAME_RESERVED"
	// ReasonNoGatewayTokens (Invalid): a gateway newly accepts tokens of an identity provider that does not allow it.
	ReasonNoGatewayTokens = "PROVIDER_WITHOUT_GATEWAY_TOKENS"
	// ReasonAudienceTaken (Invalid): another gateway has an audience, and not both allow that (JW-2).
	ReasonAudienceTaken = "AUDIENCE_TAKEN"
	// ReasonAudienceOfLogin (Invalid): an audience is that of ID tokens, which do not count (JW-4).
	ReasonAudienceOfLogin = "AUDIENCE_OF_LOGIN"
	// ReasonSharedAudience (Denied): somebody without the role ADMIN allows an audience on several gateways.
	ReasonSharedAudience = "SHARED_AUDIENCE_NEEDS_ADMIN"
	// ReasonAuthserverLacksCapability (Precondition): a connected authserver could not make the credential that is asked for.
	ReasonAuthserverLacksCapability = "AUTHSERVER_LACKS_CAPABILITY"
	// ReasonNoTokenExchange (Invalid): a server newly names an identity provider whose tokens are not kept.
	ReasonNoTokenExchange = "PROVIDER_WITHOUT_TOKEN_EXCHANGE"
	// ReasonNoApprover (Invalid): the approvers of a policy exist, and none of them could approve.
	ReasonNoApprover = "POLICY_WITHOUT_APPROVER"
	// ReasonServiceAccountOwner (Invalid): a connection to a service account would be a person's own.
	ReasonServiceAccountOwner = "SERVICE_ACCOUNT_OWNER"
	// ReasonSecretKind (Invalid): a connection has secrets of a kind that its server does not take.
	ReasonSecretKind = "SECRET_KIND_MISMATCH"
	// ReasonSecretName (Invalid or Denied): a secret environment variable would replace one of the server, or change
	// which code runs and comes from somebody without the role ADMIN.
	ReasonSecretName = "SECRET_NAME_REFUSED"
)
