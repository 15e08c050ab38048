// What `snakemake --executor azurebatch` needs in one resource group: a storage account and a Batch account,
// and where asked for a container registry, and a managed identity with a pool that has it.
//
//   az deployment group create --resource-group GROUP --template-file azure.bicep \
//     --parameters batchAccountName=NAME storageAccountName=NAME principalId=ID
//
// Written from the reference of Azure's resource types. It has never been deployed.
targetScope = 'resourceGroup'

@description('Region of everything here.')
param location string = resourceGroup().location

@description('3 to 24 lower-case letters and digits, new in the region.')
@minLength(3)
@maxLength(24)
param batchAccountName string

@description('3 to 24 lower-case letters and digits, new in all of Azure.')
@minLength(3)
@maxLength(24)
param storageAccountName string

@description('5 to 50 letters and digits, new in all of Azure. Empty: no container registry.')
param registryName string = ''

@description('Name of a managed identity for nodes. Empty: none, and no pool.')
param identityName string = ''

@description('Object id of who runs snakemake. Empty: nobody is given a role.')
param principalId string = ''

@description('What that is.')
@allowed(['User', 'Group', 'ServicePrincipal'])
param principalType string = 'User'

@description('Id of the pool that gets the identity.')
param poolName string = 'snakemake'

@description('VM size of its nodes.')
param vmSize string = 'Standard_D4s_v5'

@description('Tasks that one of its nodes runs at once.')
param taskSlotsPerNode int = 4

@description('Nodes that it has at most. It has none while nothing is to be done.')
param maxNodes int = 4

var tags = { createdBy: 'snakemake-azurebatch' }
var hasRegistry = !empty(registryName)
var hasIdentity = !empty(identityName)
var hasPrincipal = !empty(principalId)

// Roles that Azure has built in.
var batchDataContributor = '6aaa78f1-f7de-44ca-8722-c64a23943cae'
var storageBlobDataContributor = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'
var acrPull = '7f951dda-4ed3-4680-a7ca-43fe172d538d'
var acrPush = '8311e382-0749-4cb8-b61a-304f252e45ec'

// Up when tasks wait, down to none when none does; a node that works is not taken away.
var formula = '''
maxNodes = {0};
slots = {1};
samples = $PendingTasks.GetSamplePercent(TimeInterval_Minute * 5);
tasks = samples < 1 ? 0 : max($PendingTasks.GetSample(1));
$TargetDedicatedNodes = min(maxNodes, (tasks + slots - 1) / slots);
$NodeDeallocationOption = taskcompletion;
'''

resource storage 'Microsoft.Storage/storageAccounts@2023-05-01' = {
  name: storageAccountName
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: 'Standard_LRS' }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
  }
}

resource batch 'Microsoft.Batch/batchAccounts@2024-07-01' = {
  name: batchAccountName
  location: location
  tags: tags
  properties: {
    poolAllocationMode: 'BatchService'
    publicNetworkAccess: 'Enabled'
  }
}

resource registry 'Microsoft.ContainerRegistry/registries@2023-07-01' = if (hasRegistry) {
  name: hasRegistry ? registryName : 'unused'
  location: location
  tags: tags
  sku: { name: 'Basic' }
  properties: { adminUserEnabled: false }
}

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = if (hasIdentity) {
  name: hasIdentity ? identityName : 'unused'
  location: location
  tags: tags
}

// Who runs snakemake: pools, jobs and tasks; blobs, and signatures for them; images.
resource runsBatch 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (hasPrincipal) {
  name: guid(batch.id, principalId, batchDataContributor)
  scope: batch
  properties: {
    principalId: principalId
    principalType: principalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', batchDataContributor)
  }
}

resource runsStorage 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (hasPrincipal) {
  name: guid(storage.id, principalId, storageBlobDataContributor)
  scope: storage
  properties: {
    principalId: principalId
    principalType: principalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', storageBlobDataContributor)
  }
}

resource pushes 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (hasPrincipal && hasRegistry) {
  name: guid(registry.id, principalId, acrPush)
  scope: registry
  properties: {
    principalId: principalId
    principalType: principalType
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', acrPush)
  }
}

// Nodes fetch images as the identity. For blobs they have signatures, and need no role.
resource nodesPull 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (hasIdentity && hasRegistry) {
  name: guid(registry.id, identity.id, acrPull)
  scope: registry
  properties: {
    principalId: identity!.properties.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', acrPull)
  }
}

// Azure Batch's own interface cannot give a pool an identity: only this one can.
resource pool 'Microsoft.Batch/batchAccounts/pools@2024-07-01' = if (hasIdentity) {
  parent: batch
  name: poolName
  dependsOn: [nodesPull]
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: { '${identity.id}': {} }
  }
  properties: {
    vmSize: vmSize
    taskSlotsPerNode: taskSlotsPerNode
    taskSchedulingPolicy: { nodeFillType: 'Pack' }
    deploymentConfiguration: {
      virtualMachineConfiguration: {
        imageReference: {
          publisher: 'microsoft-dsvm'
          offer: 'ubuntu-hpc'
          sku: '2204'
          version: 'latest'
        }
        nodeAgentSkuId: 'batch.node.ubuntu 22.04'
        containerConfiguration: {
          type: 'DockerCompatible'
          containerRegistries: hasRegistry
            ? [
                {
                  registryServer: registry!.properties.loginServer
                  identityReference: { resourceId: identity.id }
                }
              ]
            : []
        }
      }
    }
    scaleSettings: {
      autoScale: {
        evaluationInterval: 'PT5M'
        formula: format(formula, maxNodes, taskSlotsPerNode)
      }
    }
  }
}

output batchAccountUrl string = 'https://${batch.properties.accountEndpoint}'
output blobEndpoint string = storage.properties.primaryEndpoints.blob
output registryServer string = hasRegistry ? registry!.properties.loginServer : ''
output identityId string = hasIdentity ? identity.id : ''
