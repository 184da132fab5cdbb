"""What other servers send: transactions of PDUs and EDUs, and the checks on receipt, one file per numbered step.

Spec: server-server-api #checks-performed-on-receipt-of-a-pdu
"""
