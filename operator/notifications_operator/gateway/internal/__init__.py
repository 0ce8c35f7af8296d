"""The API that the operator alone may use: deliveries into the inbox, and users' preferences."""
