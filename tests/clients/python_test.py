"""What of Dapr's Python client speaks HTTP, against a running host: its health check and its HTTP
client with its errors. All else in it, state and workflows too, is gRPC. It finds the host by
DAPR_HTTP_PORT and shows DAPR_API_TOKEN, as under `dapr run`. Started by ./run."""

import asyncio
import json
import time
import unittest

from dapr.clients.exceptions import DaprHttpError
from dapr.clients.health import DaprHealth
from dapr.clients.http.client import DaprHttpClient
from dapr.clients.http.dapr_invocation_http_client import DaprInvocationHttpClient
from dapr.clients.http.helpers import get_api_url
from dapr.serializers import DefaultJSONSerializer

# How long anything may take, in seconds.
TIME_MAX = 30


class PythonClient(unittest.TestCase):
    def setUp(self):
        # It waits for the host itself, by /v1.0/healthz/outbound.
        self.client = DaprHttpClient(DefaultJSONSerializer())

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        sent = self.client.send_bytes(method, f'{get_api_url()}/{path}', data, headers={})
        data, response = asyncio.run(sent)
        return response.status, json.loads(data) if data else None

    def reaches(self, instance, status):
        deadline = time.monotonic() + TIME_MAX
        while True:
            shown = self.call('GET', f'workflows/dapr/{instance}')[1]
            if shown['runtimeStatus'] == status:
                return shown
            self.assertLess(time.monotonic(), deadline, shown)
            time.sleep(0.02)

    def test_the_host_is_found_well(self):
        DaprHealth.wait_for_sidecar()

    def test_an_order_is_started_watched_and_terminated(self):
        stock = {'name': 'Cars', 'totalCost': 15000, 'quantity': 10}
        saved = self.call('POST', 'state/statestore', [{'key': 'Cars', 'value': stock}])
        self.assertEqual(saved, (204, None))
        order = {'Name': 'Cars', 'TotalCost': 15000, 'Quantity': 1}
        workflow = 'workflows/dapr/OrderProcessingWorkflow/start?instanceID=py-sold'
        self.assertEqual(self.call('POST', workflow, order), (202, {'instanceID': 'py-sold'}))
        shown = self.reaches('py-sold', 'COMPLETED')
        self.assertEqual(shown['properties']['dapr.workflow.output'], '{"Processed":true}')

        slow = {**order, 'SimulatedWorkSeconds': 3600}
        workflow = 'workflows/dapr/OrderProcessingWorkflow/start?instanceID=py-waits'
        self.assertEqual(self.call('POST', workflow, slow)[0], 202)
        self.reaches('py-waits', 'RUNNING')
        self.assertEqual(self.call('POST', 'workflows/dapr/py-waits/terminate'), (202, {}))
        self.reaches('py-waits', 'TERMINATED')

    def test_an_error_of_the_host_is_an_error_of_the_client(self):
        with self.assertRaises(DaprHttpError) as refused:
            self.call('GET', 'workflows/dapr/nobody')
        error = refused.exception.as_dict()
        self.assertEqual((error['status_code'], error['errorCode']), (404, 'ERR_INSTANCE_ID_NOT_FOUND'))
        self.assertIn('nobody', error['message'])

    def test_a_service_cannot_be_invoked_and_the_client_says_so(self):
        with self.assertRaises(DaprHttpError) as refused:
            DaprInvocationHttpClient().invoke_method('shop', 'pay', b'{}')
        error = refused.exception.as_dict()
        self.assertEqual((error['status_code'], error['errorCode']), (404, 'ERR_NOT_FOUND'))


if __name__ == '__main__':
    unittest.main()
