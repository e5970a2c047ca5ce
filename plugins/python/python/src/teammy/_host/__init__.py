"""The process that runs a plugin for a Teammy node. No part of the API."""
